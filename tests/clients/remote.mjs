// mcp-remote, which gives clients that speak over pipes (Claude Desktop) a server on HTTP, driven by the TypeScript SDK.
import path from 'node:path';
import { assert, check, done, facts, installed, rightFailure, rightList, rightResult } from './check.mjs';

const { Client } = await installed('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = await installed('@modelcontextprotocol/sdk/client/stdio.js');
const proxy = path.join(process.env.AIVIARY_CLIENTS_APP, 'node_modules/mcp-remote/dist/proxy.js');

async function connected(url, ...args) {
  const client = new Client({ name: 'aiviary-clients', version: '1' });
  await client.connect(new StdioClientTransport({
    command: process.execPath, args: [proxy, url, '--transport', 'http-only', '--silent', ...args], stderr: 'ignore',
    env: { HOME: facts.scratch, PATH: process.env.PATH, MCP_REMOTE_CONFIG_DIR: path.join(facts.scratch, 'mcp-remote') },
  }));
  return client;
}

for (const server of facts.servers) {
  const of = (what) => `${server.platform}: ${what}`;
  const keyed = facts.keyed.find(({ platform }) => platform === server.platform);
  const client = await connected(server.url);
  await check(of('the server behind it is known, and its list is the catalogue'), async () => {
    const { name, version } = client.getServerVersion();
    assert.deepEqual({ name, version }, { name: server.name, version: facts.version });
    rightList(server, (await client.listTools()).tools);
  });
  await check(of('tools answer'), async () => {
    for (const { tool, args } of server.calls) rightResult(server, tool, await client.callTool({ name: tool, arguments: args }));
  });
  await check(of('a failure comes through as it is'), async () => {
    rightFailure(await client.callTool({ name: server.paged.tool, arguments: { limit: 0 } }), 'invalid_params', 'limit');
  });
  await client.close();
  await check(of('a key goes with it'), async () => {
    const holder = await connected(keyed.url, '--header', `Authorization:Bearer ${facts.key}`);
    rightList(keyed, (await holder.listTools()).tools);
    await holder.close();
  });
}
done();
