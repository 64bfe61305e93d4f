// The official conformance suite against both servers, compared with conformance.json: a check that fails and should
// not, and one that no longer fails or no longer runs, are both wrong.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { assert, check, done, facts } from './check.mjs';

const suite = path.join(process.env.AIVIARY_CLIENTS_APP, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
const baseline = new URL('conformance.json', import.meta.url);
const expected = JSON.parse(fs.readFileSync(baseline, 'utf8'));

// All that each revision requires. The suite has no such set for the older ones: there what it can run.
const RUNS = {
  '2026-07-28': [['--requirements', '2026-07-28']],
  '2025-11-25': [['--requirements', '2025-11-25']],
  '2025-06-18': [['--suite', 'all', '--spec-version', '2025-06-18']],
  '2025-03-26': ['server-initialize', 'ping', 'tools-list'].map((name) => ['--scenario', name, '--spec-version', '2025-03-26', '--force']),
};

/** What came of each scenario: how many checks passed, and each that did not. */
function outcome(server, revision) {
  const came = {};
  const folder = path.join(facts.scratch, 'conformance', server.platform, revision);
  for (const args of RUNS[revision]) {
    const ran = spawnSync(process.execPath, [suite, 'server', '--url', server.url, '-o', folder, ...args], { encoding: 'utf8', timeout: 120_000 });
    // 1 says that some check failed, which is for the comparison to judge.
    assert.ok(ran.status === 0 || ran.status === 1, `${ran.stdout.slice(-2000)}${ran.stderr}`);
  }
  for (const run of fs.readdirSync(folder).sort()) {
    const [, scenario] = /^server-(.+?)-\d{4}-\d\d-\d\dT/.exec(run);
    const checks = JSON.parse(fs.readFileSync(path.join(folder, run, 'checks.json'), 'utf8'));
    const not = {};
    for (const { id, status } of checks.filter(({ status: how }) => how !== 'SUCCESS' && how !== 'INFO')) not[id] = status;
    came[scenario] = { passed: checks.filter(({ status }) => status === 'SUCCESS').length, not };
  }
  return came;
}

const totals = {};
for (const server of facts.servers) {
  for (const revision of Object.keys(RUNS)) {
    const came = outcome(server, revision);
    const listed = expected.scenarios[revision] ?? {};
    if (process.env.AIVIARY_CLIENTS_ACCEPT) {
      // A reason is given by hand, and kept.
      expected.scenarios[revision] = Object.fromEntries(Object.keys(came).sort().map((name) => {
        const why = Object.keys(came[name].not).length ? { why: listed[name]?.why ?? 'NO REASON YET' } : {};
        return [name, { passed: came[name].passed, ...why, not: came[name].not }];
      }));
    }
    for (const name of new Set([...Object.keys(listed), ...Object.keys(came)])) {
      await check(`${server.platform}, ${revision}: ${name}`, () => {
        const { why, ...known } = expected.scenarios[revision]?.[name] ?? {};
        assert.deepEqual(came[name], known, 'the outcome is not the expected one of conformance.json');
        if (Object.keys(known.not).length) assert.ok(expected.reasons[why], `no reason is given: ${why}`);
      });
    }
    const all = Object.values(came);
    const clean = all.filter(({ not }) => Object.keys(not).length === 0).length;
    totals[revision] = `${revision}: ${clean} of ${all.length} scenarios whole, ${all.reduce((sum, { passed }) => sum + passed, 0)} checks passed`;
  }
}
if (process.env.AIVIARY_CLIENTS_ACCEPT) {
  // A line a scenario, so that a change reads as one.
  const lines = (all, indent, show) => Object.entries(all).map(([name, value]) => `${indent}${JSON.stringify(name)}: ${show(value)}`).join(',\n');
  const revisions = lines(expected.scenarios, '    ', (all) => `{\n${lines(all, '      ', JSON.stringify)}\n    }`);
  const text = `{\n  "reasons": {\n${lines(expected.reasons, '    ', JSON.stringify)}\n  },\n  "scenarios": {\n${revisions}\n  }\n}`;
  fs.writeFileSync(baseline, `${text}\n`);
}
Object.values(totals).forEach((line) => console.log(`# ${line}; the rest as conformance.json expects`));
done();
