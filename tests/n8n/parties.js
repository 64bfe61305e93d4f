// The parties of a run: aiviary's roles with the sandbox behind them, NocoDB and n8n, each by its own interface.
'use strict';

const assert = require('assert/strict');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { execFile: started, spawn } = require('child_process');
const { randomBytes } = require('crypto');
const { promisify } = require('util');
const { of_n8n } = require('./stand-ins.js');
const { freePort, pause, run } = require('../../scripts/processes.js');

const execFile = promisify(started);
const root = path.join(__dirname, '..', '..');
const PATIENCE = 90000;

/** Asks in JSON; refuses another status than `status`. */
async function ask(method, url, { status = 200, headers = {}, body } = {}) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  const answer = await fetch(url, { method, ...sent, headers: { ...sent.headers, ...headers }, signal: AbortSignal.timeout(PATIENCE) });
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${url}: ${answer.status} ${text.slice(0, 2000)}`);
  return { headers: answer.headers, value: text === '' ? null : JSON.parse(text) };
}

/** Waits until `holds` gives something. */
async function until(what, holds) {
  for (const last = Date.now() + PATIENCE; ;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > last) throw new Error(`${what}: not within ${PATIENCE / 1000} s`);
    await pause(50);
  }
}

/** The roles as processes of the built binary: the sandbox, and connect with both MCP servers; credentials in NocoDB. */
class Aiviary {
  constructor(nocodb) {
    Object.assign(this, { nocodb, folder: fs.mkdtempSync(path.join(os.tmpdir(), 'aiviary-n8n-')), processes: [], log: '' });
    this.binary = process.env.AIVIARY || path.join(root, 'target', 'debug', 'aiviary');
  }

  async start() {
    for (const role of ['connect', 'instagram', 'meta_ads', 'sandbox']) this[role] = await freePort();
    this.key = randomBytes(24).toString('hex');
    this.environment = {
      PATH: process.env.PATH, AIVIARY_CONFIG: '/dev/null', AIVIARY__CLIENT_ID: 'acme', ENCRYPTION_KEY: randomBytes(32).toString('hex'), VM_API_KEY: this.key,
      NOCODB_TOKEN_FILE: path.join(this.folder, 'nocodb_token'), AIVIARY__STORE__URL: `nocodb+${this.nocodb.url}`,
      AIVIARY__STORE__BASE: 'aiviary', AIVIARY__MCP__CONNECT_URL: `http://127.0.0.1:${this.connect}`,
      AIVIARY__GRAPH__BASE_URL: `http://127.0.0.1:${this.sandbox}`, AIVIARY__CONNECT__INTERNAL: `127.0.0.1:${this.connect}`,
      AIVIARY__MCP__INSTAGRAM__LISTEN: `127.0.0.1:${this.instagram}`, AIVIARY__MCP__META_ADS__LISTEN: `127.0.0.1:${this.meta_ads}`,
      AIVIARY__SANDBOX__LISTEN: `127.0.0.1:${this.sandbox}`,
    };
    const admin = { NC_ADMIN_EMAIL: process.env.AIVIARY_NOCODB_EMAIL, NC_ADMIN_PASSWORD: process.env.AIVIARY_NOCODB_PASSWORD };
    run(this.binary, ['store', 'init', '--bootstrap'], { cwd: this.folder, env: { ...this.environment, ...admin } });
    this.serve(['sandbox']);
    this.serve(['all']);
    for (const role of ['connect', 'instagram', 'meta_ads', 'sandbox']) await until(`${role} is ready`, () => this.ready(this[role]));
    return this;
  }

  /** One more MCP server, which wants `key`; its URL. */
  async guarded(key) {
    const port = await freePort();
    this.serve(['mcp', '--platform', 'instagram'], { AIVIARY__MCP__INSTAGRAM__LISTEN: `127.0.0.1:${port}`, MCP_API_KEY: key });
    await until('the guarded server is ready', () => this.ready(port));
    return `http://127.0.0.1:${port}/mcp`;
  }

  serve(args, more = {}) {
    const env = { ...this.environment, ...more };
    const child = spawn(this.binary, ['serve', ...args], { cwd: this.folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    [child.stdout, child.stderr].forEach((pipe) => pipe.on('data', (part) => { this.log += part; }));
    this.processes.push(new Promise((done) => child.on('error', (error) => done(error.message)).on('exit', (code, signal) => done(code ?? signal))));
    this.processes.at(-1).child = child;
  }

  async ready(port) {
    return fetch(`http://127.0.0.1:${port}/readyz`).then((answer) => answer.ok, () => false)
      || (port === this.sandbox && fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false));
  }

  url(role, client) { return `http://127.0.0.1:${this[role]}${client ? `/clients/${client}` : ''}/mcp`; }

  /** A credential, as the broker sends it. */
  store(credential) {
    return ask('POST', `http://127.0.0.1:${this.connect}/api/credentials`, { status: 201, headers: { 'x-api-key': this.key }, body: credential });
  }

  /** The value of a tool over the plain form. */
  async plain(role, method, params, client) { return (await ask('POST', this.url(role, client), { body: { method, params } })).value; }

  /** Over MCP, without a handshake: there are no sessions. */
  async mcp(role, method, params) {
    const headers = { accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25' };
    return (await ask('POST', this.url(role), { headers, body: { jsonrpc: '2.0', id: 1, method, params } })).value.result;
  }

  /** Ends all; their exit codes. */
  async stop() {
    this.processes.forEach(({ child }) => child.kill('SIGTERM'));
    const codes = await Promise.all(this.processes);
    fs.rmSync(this.folder, { recursive: true, force: true });
    return codes;
  }
}

/** NocoDB, by its API. */
class Nocodb {
  constructor() { this.url = process.env.AIVIARY_NOCODB_URL; }

  async start() {
    const given = { email: process.env.AIVIARY_NOCODB_EMAIL, password: process.env.AIVIARY_NOCODB_PASSWORD };
    const { token } = (await ask('POST', `${this.url}/api/v1/auth/user/signin`, { body: given })).value;
    const headers = { 'xc-auth': token };
    this.token = (await ask('POST', `${this.url}/api/v1/tokens`, { headers, body: { description: 'n8n' } })).value.token;
    this.base = (await this.ask('POST', '/api/v2/meta/bases', { title: 'reports' })).id;
    return this;
  }

  async ask(method, target, body) { return (await ask(method, `${this.url}${target}`, { headers: { 'xc-token': this.token }, body })).value; }

  /** Makes a table from its file in `deploy/n8n/nocodb`; its id. */
  async make(title) {
    const body = JSON.parse(fs.readFileSync(path.join(root, 'deploy', 'n8n', 'nocodb', `${title}.json`), 'utf8'));
    return (await this.ask('POST', `/api/v2/meta/bases/${this.base}/tables`, body)).id;
  }

  /** The id of a table in another base. */
  async table(base, title) {
    const named = (list, name) => list.find((one) => one.title === name).id;
    const id = named((await this.ask('GET', '/api/v2/meta/bases')).list, base);
    return named((await this.ask('GET', `/api/v2/meta/bases/${id}/tables`)).list, title);
  }

  /** All rows, in the order of their making. */
  async rows(table) { return (await this.ask('GET', `/api/v2/tables/${table}/records?limit=1000&sort=Id`)).list; }

  edit(table, row) { return this.ask('PATCH', `/api/v2/tables/${table}/records`, row); }

  remove(table, row) { return this.ask('DELETE', `/api/v2/tables/${table}/records`, { Id: row.Id }); }
}

/** n8n: imports by its command line, all else by the interface that its editor uses. */
class N8n {
  constructor() {
    this.url = process.env.AIVIARY_N8N_URL;
    this.parse = of_n8n('flatted').parse;
  }

  async start() {
    const body = { emailOrLdapLoginId: process.env.AIVIARY_N8N_EMAIL, password: process.env.AIVIARY_N8N_PASSWORD };
    const { headers } = await ask('POST', `${this.url}/rest/login`, { body });
    this.cookie = headers.getSetCookie().map((cookie) => cookie.split(';')[0]).join('; ');
    return this;
  }

  async ask(method, target, body) { return (await ask(method, `${this.url}/rest${target}`, { headers: { cookie: this.cookie }, body })).value.data; }

  async import(folder, credentials) {
    const cli = (...args) => execFile(path.join(root, 'scripts', 'n8n'), ['cli', ...args]);
    await cli('import:credentials', `--input=${credentials}`);
    await cli('import:workflow', '--separate', `--input=${folder}`);
  }

  /** Changes a workflow as its owner does in the editor, and saves it. */
  async change(id, change) {
    const workflow = await this.ask('GET', `/workflows/${id}`);
    const node = (name) => workflow.nodes.find((node) => node.name === name);
    change(node, (name, value) => { node('Settings').parameters.assignments.assignments.find((one) => one.name === name).value = value; });
    const { name, nodes, connections, settings, versionId } = workflow;
    return this.ask('PATCH', `/workflows/${id}`, { name, nodes, connections, settings, versionId });
  }

  /** Runs a workflow from one of its triggers, to its end. */
  async run(id, trigger) {
    const { executionId } = await this.ask('POST', `/workflows/${id}/run`, { triggerToStartFrom: { name: trigger } });
    return this.ended(executionId);
  }

  /** How an execution went: `status`, `error` with its words, `last` node, and `items(node, output)`. */
  async ended(id) {
    const execution = await until(`execution ${id}`, async () => {
      const now = await this.ask('GET', `/executions/${id}`);
      return ['success', 'error', 'crashed', 'canceled'].includes(now.status) && now;
    });
    const { resultData } = this.parse(execution.data);
    const runs = (node) => resultData.runData[node] ?? [];
    return {
      status: execution.status, mode: execution.mode, error: resultData.error ?? null, last: resultData.lastNodeExecuted,
      ran: (node) => runs(node).length,
      items: (node, output = 0) => runs(node).flatMap(({ data }) => (data?.main?.[output] ?? []).map((item) => item.json)),
    };
  }

  /** Ids of a workflow's executions, newest first. */
  async executions(id) {
    const filter = encodeURIComponent(JSON.stringify({ workflowId: id }));
    return (await this.ask('GET', `/executions?filter=${filter}&limit=20`)).results;
  }
}

module.exports = { Aiviary, N8n, Nocodb, ask, root, until };
