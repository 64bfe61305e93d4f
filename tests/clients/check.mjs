// What the checks in JavaScript share: the facts that the driver wrote, one line a check, and what is right of a tool.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('node_modules/', `file://${process.env.AIVIARY_CLIENTS_APP}/`));
const { Ajv2020 } = require('ajv/dist/2020.js');

/** Servers, their catalogues, and the calls that every client makes. */
export const facts = JSON.parse(fs.readFileSync(process.env.AIVIARY_CLIENTS_FACTS, 'utf8'));
/** A module of the installed clients. */
export const installed = (name) => import(require.resolve(name));
export { assert, require };

let count = 0;
let failed = 0;

/** One check: a line `ok` or `not ok`, which the driver counts. */
export async function check(name, body) {
  const number = (count += 1);
  try {
    await body();
    console.log(`ok ${number} - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${number} - ${name}\n${String(error?.stack ?? error).replace(/^/gm, '    ')}`);
  }
}

/** The last line, without which a script that ended early would look well. */
export function done() {
  console.log(`1..${count}`);
  process.exit(failed ? 1 : 0);
}

/** How many calls of one client may be at Graph at once: `graph.concurrency`. */
export const PLACES = 64;

/** Waits until `holds` gives something. */
export async function until(what, holds, within = 60_000) {
  const last = Date.now() + within;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > last) throw new Error(`never came: ${what}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** A result is a success: flat value and text are the same, and fit what the catalogue says. */
export function rightResult(server, name, result) {
  assert.ok(!result.isError, `${name}: ${result.content?.[0]?.text}`);
  assert.equal(result.content.length, 1, name);
  assert.equal(result.content[0].type, 'text', name);
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent, `${name}: the text is the value`);
  const fits = ajv.compile(server.tools.find((tool) => tool.name === name).output_schema);
  assert.ok(fits(result.structuredContent), `${name}: ${ajv.errorsText(fits.errors)}`);
  return result.structuredContent;
}

/** A result is the tool's failure: one sentence that an agent can act on, ending in the code. */
export function rightFailure(result, code, ...words) {
  assert.equal(result.isError, true, JSON.stringify(result));
  assert.equal(result.structuredContent, undefined);
  assert.deepEqual(result.content.map((block) => block.type), ['text']);
  const { text } = result.content[0];
  assert.ok(text.endsWith(` [${code}]`), `${text} should end with [${code}]`);
  words.forEach((word) => assert.ok(text.includes(word), `${text} should name ${word}`));
  assert.doesNotMatch(text, /EAA|access_token=|https?:/);
}

/** A list is the catalogue's, in its order, with its words and schemas. */
export function rightList(server, tools) {
  assert.deepEqual(tools.map((tool) => tool.name), server.tools.map((tool) => tool.name));
  tools.forEach((tool, at) => {
    const { title, description, input_schema: input, output_schema: output, access } = server.tools[at];
    assert.deepEqual([tool.title, tool.description], [title, description], tool.name);
    assert.deepEqual([tool.inputSchema, tool.outputSchema], [input, output], tool.name);
    const hints = tool.annotations;
    assert.equal(hints.readOnlyHint, access === 'read', tool.name);
    ['destructiveHint', 'idempotentHint', 'openWorldHint'].forEach((hint) => assert.equal(typeof hints[hint], 'boolean', `${hint} of ${tool.name}`));
  });
}

/** How many calls of the Graph API the role made. */
export async function graphCalls(server) {
  const text = await (await fetch(`${server.base}/metrics`)).text();
  return Number(/^aiviary_graph_calls_total\{kind="call",[^}]*\} (\d+)$/m.exec(text)[1]);
}
