// What the workflows meet besides n8n, NocoDB and aiviary: a model, as OpenAI's API serves one, and a mail server.
'use strict';

const http = require('http');
const { createRequire } = require('module');
const path = require('path');

const of_n8n = createRequire(path.join(process.env.AIVIARY_N8N_MODULES, 'any.js'));
const { SMTPServer } = of_n8n('smtp-server');
const { simpleParser } = createRequire(of_n8n.resolve('n8n-nodes-base/package.json'))('mailparser');

const listening = (server) => new Promise((done, failed) => {
  server.on('error', failed).listen(0, '127.0.0.1', () => done(server.address().port));
});

/**
 * `POST /v1/chat/completions`: answers by `script`, one entry for a request: a text, or a list of tool calls
 * `[name, arguments]`. `asked` has the bodies. What is not on the script fails the workflow.
 */
class Model {
  constructor(key) {
    Object.assign(this, { key, script: [], asked: [] });
    this.server = http.createServer((request, response) => {
      let text = '';
      request.on('data', (part) => { text += part; }).on('end', () => {
        const answer = this.answer(request, text);
        response.writeHead(answer.error ? 400 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      });
    });
  }

  async start() {
    this.url = `http://127.0.0.1:${await listening(this.server)}/v1`;
    return this;
  }

  answer(request, text) {
    const refuse = (message) => ({ error: { message, type: 'invalid_request_error', code: 'stand_in' } });
    if (`${request.method} ${request.url}` !== 'POST /v1/chat/completions') return refuse(`no ${request.method} ${request.url}`);
    if (request.headers.authorization !== `Bearer ${this.key}`) return refuse('another key');
    const body = JSON.parse(text);
    this.asked.push(body);
    const next = this.script.shift();
    if (next === undefined) return refuse('the script is at its end');
    if (body.stream) return refuse('not streamed');
    const calls = typeof next === 'string' ? undefined : next.map(([name, given], i) => (
      { id: `call_${this.asked.length}_${i}`, type: 'function', function: { name, arguments: JSON.stringify(given) } }));
    const message = { role: 'assistant', content: calls ? null : next, tool_calls: calls };
    return {
      id: `chatcmpl-${this.asked.length}`, object: 'chat.completion', created: 0, model: body.model,
      choices: [{ index: 0, message, finish_reason: calls ? 'tool_calls' : 'stop' }],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    };
  }

  stop() { this.server.closeAllConnections(); this.server.close(); }
}

/** An SMTP server with one user; `mails` has what came, parsed, with its envelope. */
class Mail {
  constructor(user, pass) {
    this.mails = [];
    this.server = new SMTPServer({
      disabledCommands: ['STARTTLS'], allowInsecureAuth: true, disableReverseLookup: true, logger: false,
      onAuth: (given, session, done) => (
        given.username === user && given.password === pass ? done(null, { user }) : done(new Error('wrong user or password'))),
      onData: (stream, session, done) => {
        const to = session.envelope.rcptTo.map(({ address }) => address);
        simpleParser(stream).then((mail) => { this.mails.push({ ...mail, envelope: { from: session.envelope.mailFrom.address, to } }); done(); }, done);
      },
    });
  }

  async start() {
    this.port = await new Promise((done, failed) => {
      this.server.on('error', failed);
      const inner = this.server.listen(0, '127.0.0.1', () => done(inner.address().port));
    });
    return this;
  }

  stop() { return new Promise((done) => this.server.close(done)); }
}

module.exports = { Mail, Model, of_n8n };
