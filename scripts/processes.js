// What scripts/nocodb and scripts/n8n share: commands, a cache that is filled once, and servers that outlive the script.
'use strict';

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { randomInt } = require('crypto');
const { spawn, spawnSync } = require('child_process');

const fail = (words) => { throw new Error(words); };

/** Runs a command to its end; its words are told only when it fails. */
function run(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status !== 0) {
    fail(`${command} ${args.slice(0, 3).join(' ')}: ${done.error || `exit ${done.status}`}\n${(`${done.stdout}${done.stderr}`).slice(-3000)}`);
  }
  return done.stdout;
}

const found = (name) => (process.env.PATH || '').split(':').map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
const write = (file, text, mode) => { fs.writeFileSync(`${file}.new`, text, { mode }); fs.renameSync(`${file}.new`, file); };

/** Fills the folder `app` by `assemble`, unless it is full; whether it did. */
async function once(app, assemble) {
  const mark = path.join(app, 'installed');
  if (fs.existsSync(mark)) return false;
  fs.mkdirSync(path.dirname(app), { recursive: true });
  const unlock = await locked(path.join(path.dirname(app), 'installing'));
  try {
    if (fs.existsSync(mark)) return false;
    fs.rmSync(app, { recursive: true, force: true });
    fs.mkdirSync(app);
    assemble();
    fs.writeFileSync(mark, '');
    return true;
  } finally {
    unlock();
  }
}

/** One installer at a time; the lock of one that died is taken over. */
async function locked(file) {
  for (;;) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx' });
      return () => fs.rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = Number(fs.existsSync(file) && fs.readFileSync(file, 'utf8'));
      if (owner && !lives(owner)) fs.rmSync(file, { force: true });
      else await pause(200);
    }
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function lives(pid) {
  try {
    const state = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return state.slice(state.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

/** When the process began, so that a later one with its number is not taken for it. */
function birth(pid) {
  try {
    const state = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return state.slice(state.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return null;
  }
}

/** npm's SQLite for a server: compiled once for all of them, since its own install script would fetch a binary from elsewhere. */
function sqlite3(kept, folder, node) {
  const { version } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const ready = path.join(kept, `sqlite3-${version}-${os.arch()}.node`);
  const built = path.join(folder, 'build', 'Release', 'node_sqlite3.node');
  fs.mkdirSync(kept, { recursive: true });
  if (!fs.existsSync(ready)) {
    const gyp = path.join(path.dirname(fs.realpathSync(found('npm'))), '..', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
    run(process.execPath, [gyp, 'rebuild', `--nodedir=${node}`, '--jobs=max', '--loglevel=error'], { cwd: folder });
    fs.copyFileSync(built, `${ready}.${process.pid}`);
    fs.renameSync(`${ready}.${process.pid}`, ready);
  }
  fs.mkdirSync(path.dirname(built), { recursive: true });
  fs.copyFileSync(ready, built);
}

/** The registry's name of Node itself, on machines that it is packed for. */
function runtime() {
  const arch = { x64: 'x64', arm64: 'arm64' }[os.arch()];
  if (os.platform() !== 'linux' || !arch) fail('only for Linux on x86-64 or arm64');
  return `node-linux-${arch}`;
}

/** Starts what goes on when this script is gone; `running` and `end` know it by its file in `folder`. */
function launch(folder, name, command, args, options) {
  const log = fs.openSync(path.join(folder, `${name}.log`), 'a');
  const child = spawn(command, args, { stdio: ['ignore', log, log], detached: true, ...options });
  child.on('error', (error) => console.error(`${name}: ${error.message}`));
  child.unref();
  fs.closeSync(log);
  if (!child.pid) fail(`${name} does not start`);
  write(path.join(folder, `${name}.pid`), JSON.stringify({ pid: child.pid, birth: birth(child.pid) }));
}

function running(folder, name) {
  try {
    const kept = JSON.parse(fs.readFileSync(path.join(folder, `${name}.pid`), 'utf8'));
    return lives(kept.pid) && birth(kept.pid) === kept.birth ? kept.pid : null;
  } catch {
    return null;
  }
}

async function end(folder, name, signal) {
  const pid = running(folder, name);
  if (!pid) return;
  process.kill(pid, signal);
  const until = Date.now() + 20000;
  while (running(folder, name)) {
    if (Date.now() > until) process.kill(pid, 'SIGKILL');
    await pause(20);
  }
}

const given = new Set();

/** A port of loopback on which nobody listens, given once. The system gives those from 32768 on to whoever connects. */
async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = randomInt(15000, 32000);
    const free = !given.has(port) && await new Promise((done) => {
      const server = net.createServer().on('error', () => done(false));
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
    if (free) {
      given.add(port);
      return port;
    }
  }
  return fail('no free port of loopback');
}

/** What `up` writes into the folder of a server before anything else. */
const MARK = 'server.json';

/** Deletes the folder of a server, and none but such a one: it may be named by hand. */
function clear(folder) {
  const there = fs.existsSync(folder);
  if (there && !fs.existsSync(path.join(folder, MARK)) && fs.readdirSync(folder).length > 0) {
    fail(`${folder} holds something else than a server that was started here: it is left as it is; name another folder`);
  }
  fs.rmSync(folder, { recursive: true, force: true });
}

/** Waits until `holds`, for as long as the server lives. */
async function until(what, folder, name, holds) {
  const last = Date.now() + 180000;
  while (!(await holds())) {
    if (!running(folder, name) || Date.now() > last) {
      fail(`${what}\n${fs.readFileSync(path.join(folder, `${name}.log`), 'utf8').slice(-3000)}`);
    }
    await pause(50);
  }
}

/** Runs a command with more variables between `up` and `down`, whatever ends it; its exit status. */
async function during({ up, down }, command, args) {
  let child;
  const stopped = (signal) => { child?.kill(signal); down().finally(() => process.exit(128 + os.constants.signals[signal])); };
  ['SIGINT', 'SIGTERM'].forEach((signal) => process.on(signal, stopped));
  try {
    const variables = await up();
    return await new Promise((done, failed) => {
      child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...variables } });
      child.on('error', failed).on('exit', (code, signal) => done(code ?? 128 + os.constants.signals[signal]));
    });
  } finally {
    await down();
    ['SIGINT', 'SIGTERM'].forEach((signal) => process.off(signal, stopped));
  }
}

module.exports = { MARK, clear, during, end, fail, found, freePort, launch, once, pause, run, running, runtime, sqlite3, until, write };
