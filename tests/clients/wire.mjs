// What no client of good manners sends, on raw connections against both servers.
import http from 'node:http';
import net from 'node:net';
import { assert, check, done, facts } from './check.mjs';

const BOTH = 'application/json, text/event-stream';
const META = 'io.modelcontextprotocol';

/** One request: status, headers, text. */
function send(server, { method = 'POST', path = '/mcp', headers = {}, body = '' }) {
  const { hostname, port } = new URL(server.base);
  const all = { 'content-type': 'application/json', accept: BOTH, ...headers };
  Object.keys(all).forEach((name) => all[name] === null && delete all[name]);
  return new Promise((answered, failed) => {
    const request = http.request({ hostname, port, method, path, headers: all, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (part) => { text += part; });
      answer.on('end', () => {
        assert.equal(answer.headers['mcp-session-id'], undefined, 'no session is ever given');
        answered({ status: answer.statusCode, headers: answer.headers, text, json: () => JSON.parse(text) });
      });
    });
    request.on('error', failed);
    request.end(body);
  });
}

const message = (method, params, id = 1) => JSON.stringify({ jsonrpc: '2.0', id, method, params });
const list = message('tools/list');
const modern = (method, params = {}) => message(method, {
  ...params, _meta: { [`${META}/protocolVersion`]: '2026-07-28', [`${META}/clientCapabilities`]: {} },
});
const initialize = (version) => message('initialize', { protocolVersion: version, capabilities: {}, clientInfo: { name: 'x', version: '1' } });

for (const server of facts.servers) {
  const { tool } = server.calls[0];
  const of = (what) => `${server.platform}: ${what}`;
  const rpc = async (body, code, status = 400, headers = {}) => {
    const came = await send(server, { body, headers });
    assert.deepEqual([came.status, came.json().error?.code], [status, code], came.text);
    assert.equal(came.headers['content-type'], 'application/json');
    assert.ok(came.json().error.message.length > 5, came.text);
    return came.json().error;
  };
  const plain = async (request, status, code) => {
    const came = await send(server, request);
    assert.deepEqual([came.status, came.json().error?.code], [status, code], came.text);
    return came;
  };

  for (const [asked, given] of [
    ['2024-11-05', '2024-11-05'], ['2025-03-26', '2025-03-26'], ['2025-06-18', '2025-06-18'], ['2025-11-25', '2025-11-25'],
    ['2026-07-28', '2025-11-25'], ['2031-01-01', '2025-11-25'], ['nonsense', '2025-11-25'],
  ]) {
    await check(of(`initialize with ${asked} agrees on ${given}`), async () => {
      const { result } = (await send(server, { body: initialize(asked) })).json();
      assert.equal(result.protocolVersion, given);
      assert.equal(result.serverInfo.name, server.name);
    });
  }
  await check(of('an old client that brings a session of another server is served'), async () => {
    const came = await send(server, { body: list, headers: { 'mcp-session-id': '5f1c', 'mcp-protocol-version': '2025-06-18' } });
    assert.deepEqual(came.json().result.tools.map(({ name }) => name), server.tools.map(({ name }) => name));
  });
  await check(of('GET, DELETE and others are answered 405, with what is allowed'), async () => {
    for (const method of ['GET', 'DELETE', 'PUT', 'PATCH']) {
      const came = await plain({ method, headers: { accept: 'text/event-stream', 'mcp-session-id': '5f1c' } }, 405, 'method_not_allowed');
      assert.equal(came.headers.allow, 'POST', method);
    }
  });
  await check(of('paths where clients look for OAuth are 404'), async () => {
    for (const path of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-authorization-server', '/register']) {
      await plain({ method: 'GET', path }, 404, 'not_found');
    }
  });
  await check(of('a foreign Host is refused'), async () => {
    for (const host of ['evil.example', 'evil.example:3005', '127.0.0.1.evil.example', '169.254.169.254']) {
      await plain({ body: list, headers: { host } }, 403, 'not_internal');
    }
    for (const host of ['localhost', `localhost:${new URL(server.base).port}`, 'instagram-mcp:3005']) {
      assert.equal((await send(server, { body: list, headers: { host } })).status, 200, host);
    }
  });
  await check(of('a foreign Origin is refused, the configured one is not'), async () => {
    for (const origin of ['http://evil.example', 'null', `${server.base}.evil.example`, 'http://localhost:1']) {
      await plain({ body: list, headers: { origin } }, 403, 'not_internal');
    }
    assert.equal((await send(server, { body: list, headers: { origin: server.base } })).status, 200);
  });
  await check(of('a body over the limit is refused, whether its length is told or not'), async () => {
    const big = message('tools/call', { name: tool, arguments: { x: 'x'.repeat(1 << 20) } });
    const { hostname, port } = new URL(server.base);
    for (const [framing, body] of [
      [`Content-Length: ${big.length}`, ''],
      ['Transfer-Encoding: chunked', `${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`],
    ]) {
      const text = await new Promise((answered, failed) => {
        const socket = net.connect(port, hostname, () => {
          socket.write(`POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: ${BOTH}\r\n${framing}\r\n\r\n${body}`);
        });
        let all = '';
        // One answer is enough: what stays of the body is not read.
        socket.on('data', (part) => { all += part; if (all.includes('}}')) { socket.destroy(); answered(all); } });
        socket.on('error', (error) => (all ? answered(all) : failed(error)));
        socket.on('close', () => answered(all));
      });
      assert.match(text, /^HTTP\/1\.1 413 [^]*"code":"too_large","message":"the body may have 1048576 bytes at most"/, framing);
    }
  });
  await check(of('another content type is refused'), async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', null]) {
      await plain({ body: list, headers: { 'content-type': type } }, 415, 'unsupported_media_type');
    }
  });
  await check(of('what is not JSON is -32700'), async () => {
    for (const body of ['', '{', '{"jsonrpc":"2.0",}', 'tools/list', '\u0000', `{"jsonrpc":"2.0","id":1,"method":"x","params":${'['.repeat(500)}${']'.repeat(500)}}`]) {
      await rpc(body, -32700);
    }
  });
  await check(of('what is no message is -32600, batches among it'), async () => {
    for (const body of ['[]', `[${list}]`, `[${list},${list}]`, '"x"', '1', 'null', '{"jsonrpc":"1.0","id":1,"method":"ping"}',
      '{"jsonrpc":"2.0","id":null,"method":"ping"}', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', '{"jsonrpc":"2.0","id":1}',
      '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', '{"jsonrpc":"2.0","id":1,"result":{}}']) {
      await rpc(body, -32600);
    }
  });
  await check(of('unknown methods and malformed params'), async () => {
    await rpc(message('tools/shout'), -32601, 200);
    await rpc(message('tools/call', {}), -32602, 200);
    await rpc(message('tools/call', { name: tool, arguments: [] }), -32602, 200);
    await rpc(message('tools/call', { name: 7 }), -32602, 200);
    const { message: words } = await rpc(message('tools/call', { name: 'get_' }), -32602, 200);
    assert.match(words, /^Unknown tool: there is no tool get_/);
  });
  await check(of('notifications are taken without an answer, a cancellation of nothing too'), async () => {
    for (const [method, params] of [['notifications/initialized'], ['notifications/cancelled', { requestId: 99, reason: 'x' }], ['notifications/of/others']]) {
      const came = await send(server, { body: JSON.stringify({ jsonrpc: '2.0', method, params }), headers: { 'mcp-protocol-version': '2025-11-25' } });
      assert.deepEqual([came.status, came.text], [202, ''], method);
    }
  });
  await check(of('an unknown version in the header is refused'), async () => {
    const came = await send(server, { body: list, headers: { 'mcp-protocol-version': '1999-01-01' } });
    assert.equal(came.status, 400, came.text);
  });

  const now = { 'mcp-protocol-version': '2026-07-28' };
  await check(of('2026-07-28: discover says what is supported'), async () => {
    const came = await send(server, { body: modern('server/discover'), headers: { ...now, 'mcp-method': 'server/discover' } });
    const { result } = came.json();
    assert.deepEqual(result.supportedVersions, ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28']);
    assert.deepEqual([result.resultType, result.ttlMs, result.cacheScope], ['complete', 3_600_000, 'public']);
    assert.equal(result._meta[`${META}/serverInfo`].name, server.name);
  });
  await check(of('2026-07-28: headers that do not mirror the body are -32020'), async () => {
    const call = modern('tools/call', { name: tool, arguments: {} });
    for (const headers of [
      { ...now, 'mcp-name': tool },
      { ...now, 'mcp-method': 'tools/list', 'mcp-name': tool },
      { ...now, 'mcp-method': 'tools/call' },
      { ...now, 'mcp-method': 'tools/call', 'mcp-name': 'another' },
      { 'mcp-method': 'tools/call', 'mcp-name': tool },
      { 'mcp-protocol-version': '2025-11-25', 'mcp-method': 'tools/call', 'mcp-name': tool },
    ]) await rpc(call, -32020, 400, headers);
    const encoded = `=?base64?${Buffer.from(tool).toString('base64')}?=`;
    const came = await send(server, { body: call, headers: { ...now, 'mcp-method': 'tools/call', 'mcp-name': encoded } });
    assert.equal(came.json().result.isError, false, came.text);
  });
  await check(of('2026-07-28: an unknown version is -32022, and what is supported is told'), async () => {
    const body = list.replace('"tools/list"', `"tools/list","params":{"_meta":{"${META}/protocolVersion":"2031-01-01","${META}/clientCapabilities":{}}}`);
    const { data } = await rpc(body, -32022, 400, { 'mcp-protocol-version': '2031-01-01', 'mcp-method': 'tools/list' });
    assert.equal(data.requested, '2031-01-01');
    assert.ok(data.supported.includes('2026-07-28'));
  });
  await check(of('2026-07-28: what it has no more is 404 and -32601'), async () => {
    for (const method of ['initialize', 'ping', 'prompts/list', 'logging/setLevel', 'subscriptions/listen']) {
      await rpc(modern(method), -32601, 404, { ...now, 'mcp-method': method });
    }
  });
  await check(of('the plain form answers on the same path'), async () => {
    const [first] = server.calls;
    const came = await send(server, { body: JSON.stringify({ method: first.tool, params: first.args }), headers: { accept: 'application/json' } });
    assert.equal(came.status, 200, came.text);
    assert.equal(came.json().jsonrpc, undefined);
    await plain({ body: '{', headers: { accept: 'application/json' } }, 400, 'invalid_json');
    await plain({ body: '{"method":"nope"}', headers: { accept: 'application/json' } }, 404, 'unknown_method');
  });
  await check(of('without the key nothing is told, and how to send it is'), async () => {
    const keyed = facts.keyed.find(({ platform }) => platform === server.platform);
    for (const authorization of [null, 'Bearer', 'Bearer wrong', `Basic ${facts.key}`]) {
      const came = await send(keyed, { body: list, headers: { authorization } });
      assert.equal(came.status, 401, came.text);
      assert.match(came.headers['www-authenticate'], /^Bearer/);
      assert.equal(came.json().error.code, 'unauthorized');
    }
    assert.equal((await send(keyed, { body: list, headers: { authorization: `Bearer ${facts.key}` } })).status, 200);
  });
}
done();
