// The MCP inspector's command line, in its three eras, against both servers.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { assert, check, done, facts, rightFailure, rightList, rightResult } from './check.mjs';

const launcher = path.join(process.env.AIVIARY_CLIENTS_APP, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');

/** One run: exit code, what it printed, what it said beside that. */
function inspector(url, era, ...args) {
  const line = [launcher, '--cli', url, '--transport', 'http', '--protocol-era', era, '--stored-auth-only', '--format', 'json', ...args];
  return new Promise((done, failed) => {
    execFile(process.execPath, line, { timeout: 60_000 }, (error, stdout, words) => {
      try {
        done({ exit: error ? error.code : 0, result: stdout && JSON.parse(stdout).result, words });
      } catch {
        failed(new Error(`no JSON: ${stdout}${words}`));
      }
    });
  });
}

const all = [];
for (const server of facts.servers) {
  const [first] = server.calls;
  for (const [era, revision] of [['legacy', '2025-11-25'], ['auto', '2026-07-28'], ['modern', '2026-07-28']]) {
    const of = (what) => `${server.platform}, ${era}: ${what}`;
    all.push(() => check(of('the server is known, and the revision agreed'), async () => {
      const { exit, result, words } = await inspector(server.url, era, '--method', 'initialize');
      assert.equal(exit, 0, words);
      assert.equal(result.protocolVersion, revision);
      assert.deepEqual([result.serverInfo.name, result.serverInfo.version], [server.name, facts.version]);
      assert.deepEqual(result.capabilities, { tools: {} });
    }));
    all.push(() => check(of('the list is the catalogue, and no model provider refuses a schema'), async () => {
      const { exit, result, words } = await inspector(server.url, era, '--method', 'tools/list', '--strict');
      assert.equal(exit, 0, words);
      rightList(server, result.tools);
      assert.doesNotMatch(words, /^Error|Path: inputSchema/m);
    }));
    all.push(() => check(of('a tool is called'), async () => {
      const { exit, result, words } = await inspector(server.url, era, '--method', 'tools/call', '--tool-name', first.tool, '--tool-args-json', JSON.stringify(first.args));
      assert.equal(exit, 0, words);
      rightResult(server, first.tool, result);
    }));
    all.push(() => check(of('a wrong argument is the tool\'s failure'), async () => {
      const { exit, result, words } = await inspector(server.url, era, '--method', 'tools/call', '--tool-name', server.paged.tool, '--tool-arg', 'limit=0');
      assert.equal(exit, 5, words);
      rightFailure(result, 'invalid_params', 'limit', '0');
    }));
  }
  all.push(() => check(`${server.platform}: an expired token is the tool's failure`, async () => {
    const url = server.url.replace('/mcp', '/clients/expired/mcp');
    const { exit, result, words } = await inspector(url, 'auto', '--method', 'tools/call', '--tool-name', first.tool);
    assert.equal(exit, 5, words);
    rightFailure(result, 'token_expired', '2024-01-01', 'authorise');
  }));
  all.push(() => check(`${server.platform}: a key is wanted`, async () => {
    const keyed = facts.keyed.find(({ platform }) => platform === server.platform);
    const without = await inspector(keyed.url, 'legacy', '--method', 'tools/list');
    assert.notEqual(without.exit, 0);
    assert.match(without.words, /auth|401/i);
    const { exit, result, words } = await inspector(keyed.url, 'legacy', '--method', 'tools/list', '--header', `Authorization: Bearer ${facts.key}`);
    assert.equal(exit, 0, words);
    rightList(keyed, result.tools);
  }));
}

// Each is a process that starts: a few at a time.
await Promise.all(Array.from({ length: 3 }, async () => {
  for (let next = all.shift(); next; next = all.shift()) await next();
}));
done();
