// The official TypeScript SDKs: `typescript.mjs PACKAGE REVISION [MODE]`, against both servers.
import { setMaxListeners } from 'node:events';
import { PLACES, assert, check, done, facts, graphCalls, installed, rightFailure, rightList, rightResult, until } from './check.mjs';

// Many calls that one signal stops.
setMaxListeners(0);
const [name, revision, mode] = process.argv.slice(2);
const second = name === '@modelcontextprotocol/client';
const { Client } = await installed(second ? name : `${name}/client/index.js`);
const { StreamableHTTPClientTransport } = await installed(second ? name : `${name}/client/streamableHttp.js`);
// The first SDK wants to be told what a raw answer is like.
const anything = second ? [] : [(await installed(`${name}/types.js`)).ResultSchema];
const modern = revision === '2026-07-28';

// What went over the wire, whichever SDK sent it.
let wire = [];
const unwatched = globalThis.fetch;
globalThis.fetch = async (url, init = {}) => {
  const sent = { method: init.method ?? 'GET', headers: new Headers(init.headers), body: init.body && JSON.parse(init.body) };
  const post = String(url).endsWith('/mcp');
  if (post) wire.push(sent);
  const answer = await unwatched(url, init);
  sent.status = answer.status;
  sent.answered = answer.headers;
  return answer;
};

async function connected(url, headers) {
  const options = second ? { versionNegotiation: { mode: mode === 'pin' ? { pin: revision } : mode } } : {};
  const client = new Client({ name: 'aiviary-clients', version: '1' }, options);
  client.onerror = () => {};
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  return client;
}

const call = (client, params, options) => (second ? client.callTool(params, options) : client.callTool(params, undefined, options));
const refusal = async (promise) => promise.then((answer) => assert.fail(`it was answered: ${JSON.stringify(answer)}`), (error) => error);

for (const server of facts.servers) {
  const of = (what) => `${server.platform}: ${what}`;
  wire = [];
  const client = await connected(server.url);

  await check(of('the server is known, and the revision agreed'), async () => {
    const { name: its, version } = client.getServerVersion();
    assert.deepEqual({ name: its, version }, { name: server.name, version: facts.version });
    assert.deepEqual(client.getServerCapabilities(), { tools: {} });
    const opening = wire[0].body;
    if (modern) {
      assert.equal(client.getNegotiatedProtocolVersion(), revision);
      assert.equal(opening.method, 'server/discover');
    } else {
      assert.equal(opening.method, 'initialize');
      assert.equal(opening.params.protocolVersion, revision, 'this client asks for the revision that it is here for');
    }
    assert.match(client.getInstructions(), /nothing in them is an instruction/);
  });

  await check(of('the list is the catalogue'), async () => {
    const { tools, nextCursor } = await client.listTools();
    assert.equal(nextCursor, undefined);
    rightList(server, tools);
  });

  await check(of('a cursor that the list never gave is refused'), async () => {
    const error = await refusal(client.request({ method: 'tools/list', params: { cursor: 'of-another-server' } }, ...anything));
    assert.equal(error.code, -32602, error);
    assert.match(error.message, /cursor/);
  });

  for (const { tool, args } of server.calls) {
    await check(of(`${tool} ${JSON.stringify(args)}`), async () => {
      rightResult(server, tool, await call(client, { name: tool, arguments: args }));
    });
  }

  await check(of('a list is read to its end, page by page'), async () => {
    const { tool, rows, limit, total, pages } = server.paged;
    const ids = [];
    let cursor;
    let asked = 0;
    do {
      const value = rightResult(server, tool, await call(client, { name: tool, arguments: { limit, ...(cursor && { cursor }) } }));
      ids.push(...value[rows].map((row) => row.id));
      cursor = value.next_cursor;
      asked += 1;
    } while (cursor && asked < pages);
    assert.equal(asked, pages);
    assert.equal(new Set(ids).size, total);
    assert.equal(ids.length, total);
  });

  await check(of('wrong arguments are failures that name the argument'), async () => {
    const { tool } = server.paged;
    rightFailure(await call(client, { name: tool, arguments: { limit: 0 } }), 'invalid_params', 'limit', '0');
    rightFailure(await call(client, { name: tool, arguments: { limit: 'many' } }), 'invalid_params', 'limit', 'many');
    rightFailure(await call(client, { name: tool, arguments: { limt: 3 } }), 'invalid_params', 'limt', 'limit');
    rightFailure(await call(client, { name: tool, arguments: { cursor: 'zzz' } }), 'invalid_params', 'cursor');
    rightFailure(await call(client, { name: tool, arguments: { access_token: 'x' } }), 'invalid_params', 'access_token');
  });

  await check(of('an unknown tool is an error with the nearest name'), async () => {
    const [first] = server.tools;
    const error = await refusal(call(client, { name: `${first.name}e`, arguments: {} }));
    assert.equal(error.code, -32602, error);
    assert.ok(error.message.includes(`${first.name}e`) && error.message.includes(`: ${first.name}`), error.message);
  });

  await check(of('what is not offered says so'), async () => {
    const error = await refusal(client.request({ method: 'prompts/list', params: {} }, ...anything));
    assert.match(`${error.code} ${error.message}`, /-32601/);
    assert.match(error.message, /prompts\/list: this server has tools only/);
  });

  await check(of('twenty calls at once get twenty answers, each its own'), async () => {
    const { tool, rows } = server.paged;
    const limits = Array.from({ length: 20 }, (_, at) => 1 + (at % 5));
    const all = await Promise.all(limits.map((limit) => call(client, { name: tool, arguments: { limit } })));
    assert.deepEqual(all.map((result) => result.structuredContent[rows].length), limits);
  });

  await check(of('a progress token does no harm'), async () => {
    let heard = 0;
    const { tool, args } = server.calls[0];
    rightResult(server, tool, await call(client, { name: tool, arguments: args }, { onprogress: () => { heard += 1; } }));
    assert.equal(heard, 0, 'a read has no progress to tell');
    const token = wire.filter(({ body }) => body?.params?._meta?.progressToken !== undefined);
    assert.equal(token.length, 1);
  });

  await check(of('each client is served from its own path'), async () => {
    const { tool, args } = server.calls[0];
    for (const [who, code, ...words] of [
      ['expired', 'token_expired', 'expired', '2024-01-01', 'authorise'],
      ['nobody', 'not_connected', 'nobody'],
    ]) {
      const other = await connected(server.url.replace('/mcp', `/clients/${who}/mcp`));
      rightFailure(await call(other, { name: tool, arguments: args }), code, ...words);
      await other.close();
    }
  });

  await check(of('calls that hang are cancelled at once, here and there, and the client goes on'), async () => {
    const { tool, args } = server.hanging;
    const url = server.url.replace('/mcp', '/clients/hang/mcp');
    const hanging = await connected(url);
    const before = await graphCalls(server);
    const stop = new AbortController();
    const answers = Array.from({ length: PLACES }, () => refusal(call(hanging, { name: tool, arguments: args }, { signal: stop.signal })));
    await until('the calls at Graph', async () => (await graphCalls(server)) >= before + PLACES);
    const from = wire.length;
    const began = Date.now();
    stop.abort();
    await Promise.all(answers);
    assert.ok(Date.now() - began < 5_000, 'it waits for the answer');
    if (!modern) {
      const told = () => wire.slice(from).filter(({ body, status }) => body?.method === 'notifications/cancelled' && status === 202);
      await until('as many notifications/cancelled', () => told().length === PLACES);
    }
    rightList(server, (await hanging.listTools()).tools);
    // Of the old revisions the server knows no session in which to look for the request: the lost connection ends it.
    if (!modern) await hanging.close();
    // Every place at Graph was taken, for 20 s and more. One that comes now gets there: the server gave them up.
    const next = await connected(url);
    const another = new AbortController();
    const answer = refusal(call(next, { name: tool, arguments: args }, { signal: another.signal }));
    await until('a place at Graph', async () => (await graphCalls(server)) > before + PLACES, 15_000);
    another.abort();
    await answer;
    await Promise.all([next.close(), hanging.close()]);
  });

  await check(of('a call that the client gives up by time is given up'), async () => {
    const { tool, args } = server.hanging;
    const hanging = await connected(server.url.replace('/mcp', '/clients/hang/mcp'));
    const error = await refusal(call(hanging, { name: tool, arguments: args }, { timeout: 300 }));
    assert.match(String(error.code), /-32001|REQUEST_TIMEOUT/, error);
    await hanging.close();
  });

  await check(of('the wire: JSON, no session, the headers of the revision'), async () => {
    assert.ok(wire.length > 30, `${wire.length} requests`);
    for (const { method, headers, body, status, answered } of wire.filter((sent) => sent.answered)) {
      const what = `${method} ${body?.method}`;
      assert.equal(answered.get('mcp-session-id'), null, what);
      assert.equal(headers.get('mcp-session-id'), null, what);
      if (method !== 'POST') {
        assert.deepEqual([status, answered.get('allow')], [405, 'POST'], what);
        continue;
      }
      if (body.id === undefined) assert.equal(status, 202, what);
      else assert.equal(answered.get('content-type'), 'application/json', what);
      if (modern) {
        assert.equal(headers.get('mcp-protocol-version'), revision, what);
        assert.equal(headers.get('mcp-method'), body.method, what);
        assert.equal(headers.get('mcp-name'), body.method === 'tools/call' ? body.params.name : null, what);
        assert.notEqual(body.method, 'initialize');
      } else if (body.method !== 'initialize') {
        assert.equal(headers.get('mcp-protocol-version'), revision === '2025-03-26' ? null : revision, what);
      }
    }
    assert.equal(wire.some(({ method }) => method === 'GET'), !modern, 'the old ones ask for a stream, once');
  });

  await check(of('a key that is wanted is asked for, and taken'), async () => {
    const { url } = facts.keyed.find(({ platform }) => platform === server.platform);
    const error = await refusal(connected(url));
    assert.match(`${error.code} ${error.status} ${error.message}`, /401|Unauthorized|MCP_API_KEY/, error);
    const holder = await connected(url, { authorization: `Bearer ${facts.key}` });
    rightList(facts.keyed.find(({ platform }) => platform === server.platform), (await holder.listTools()).tools);
    await holder.close();
  });

  if (server.writing) {
    await check(of('a write of several steps tells each, and then its value'), async () => {
      const keyed = facts.keyed.find(({ platform }) => platform === server.platform);
      const holder = await connected(keyed.url, { authorization: `Bearer ${facts.key}` });
      const steps = [];
      const { tool, args } = server.writing;
      const onprogress = ({ progress, total, message }) => { steps.push({ progress, total, message }); };
      const value = rightResult(keyed, tool, await call(holder, { name: tool, arguments: args }, { onprogress }));
      assert.equal(value.state, 'published');
      assert.deepEqual(steps.map(({ progress }) => progress), [1, 2, 3, 4]);
      assert.ok(steps.every(({ total, message }) => total === 4 && message), JSON.stringify(steps));
      await holder.close();
    });
  }
  await client.close();
}
done();
