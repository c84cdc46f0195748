/**
 * The parent of one stack's services: a process in a session of its own that outlives the control plane. Needs Node 20 and nothing else.
 * Its one argument is JSON: { directory, name, environment, spoolBytes, idleEndMs }. A second one for the same stack ends at once.
 */
import fs from 'node:fs';
import path from 'node:path';
import { ControlServer, PROTOCOL, Refusal } from './control-server.mjs';
import { closeInheritedFiles } from './inherited-files.mjs';
import { takeLock } from './lock.mjs';
import { bootId } from './process-identity.mjs';
import { placesOf, removeStackFiles } from './service-files.mjs';
import { Spool } from './spool.mjs';
import { Stack } from './stack.mjs';
import { readJson, replaceFile } from './state-file.mjs';

const IDLE_POLL_MS = 500;

/** @type {{ directory: string, name: string, environment: string, spoolBytes: number, idleEndMs: number }} */
const options = JSON.parse(process.argv[2] ?? '{}');
const home = path.join(options.directory, 's', options.name);
const stateDirectory = path.join(home, 'state');
const memoryFile = path.join(home, 'supervisor.json');
const isRoot = process.geteuid?.() === 0;

closeInheritedFiles();
if (!takeLock(path.join(home, 'lock'))) process.exit(0);

process.umask(0o022);
if (isRoot) process.setgroups?.([]);
for (const signal of /** @type {const} */ (['SIGHUP', 'SIGINT', 'SIGPIPE'])) process.on(signal, () => {});

/** @type {{ epoch: number, bootId: string } | null} */
const remembered = readJson(memoryFile);
const memory = { epoch: remembered?.epoch ?? 0, bootId: bootId() };
const hostRestarted = remembered?.bootId !== memory.bootId;

fs.mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
const places = placesOf(options.directory, options.environment, options.name);
const spool = new Spool({ directory: path.join(home, 'spool'), limitBytes: options.spoolBytes, hostRestarted });
const binDirectory = path.join(options.directory, 'bin');
const stack = new Stack({ spool, places, pipeDirectory: home, binDirectory }, stateDirectory);
await stack.takeOver();
spool.flush();
remember();

const server = new ControlServer({
  hello: ({ protocol }) => {
    if (protocol !== PROTOCOL)
      throw new Refusal('INVALID', `this supervisor speaks protocol ${PROTOCOL}, not ${protocol}`);
    return { protocol: PROTOCOL, pid: process.pid };
  },
  list: () => stack.list(),
  subscribe: (_, client) => {
    client.onClose(stack.subscribe((status) => client.send({ event: 'status', status })));
    return stack.list();
  },
  start: ({ epoch, uid, spec }) => {
    accept(epoch);
    return stack.start(spec, isRoot ? uid : null);
  },
  stop: ({ epoch, instanceId }) => {
    accept(epoch);
    return stack.stop(instanceId);
  },
  logEnd: () => {
    spool.flush();
    return spool.end;
  },
  logWait: ({ after }, client) => appended(after, client),
  trim: ({ before }) => spool.trim(before),
  remove: ({ epoch, uid, volumes }) => {
    accept(epoch);
    if (stack.size > 0) throw new Refusal('FAILED', `the stack still has ${stack.size} instances: stop them first`);
    removeStackFiles(places, isRoot ? uid : null, volumes);
    setImmediate(() => {
      if (!stack.isLive) end();
    });
  },
});

let ending = false;
process.on('SIGTERM', () => endWithServices('its supervisor was told to end (SIGTERM)'));
await server.listen(path.join(home, 'control.sock'));
// Services must not lose their parent over one broken call.
process.on('uncaughtException', (error) => console.error(error));

let idleSince = Date.now();
const homeInode = fs.statSync(home).ino;
setInterval(() => {
  // Without its directory nobody can reach it any more, and services without a master would only be in the way.
  if (fs.statSync(home, { throwIfNoEntry: false })?.ino !== homeInode)
    endWithServices('its runtime directory was removed');
  if (stack.isLive || !spool.isSettled) idleSince = Date.now();
  else if (Date.now() - idleSince >= options.idleEndMs) end();
}, IDLE_POLL_MS);

/** Refuses a lease that another control plane has taken over since. @param {number} epoch */
function accept(epoch) {
  if (!Number.isSafeInteger(epoch)) throw new Refusal('INVALID', 'epoch: an integer is needed');
  if (epoch < memory.epoch) {
    throw new Refusal('STALE_LEASE', `epoch ${epoch} is over: this stack was taken over with epoch ${memory.epoch}`);
  }
  if (epoch === memory.epoch) return;
  memory.epoch = epoch;
  remember();
}

function remember() {
  try {
    replaceFile(memoryFile, JSON.stringify(memory));
  } catch (error) {
    console.error('the epoch could not be written:', error instanceof Error ? error.message : error);
  }
}

/** Resolves with the log's end once it differs from what the client has read. @param {number} after @param {import('./control-server.mjs').Client} client */
function appended(after, client) {
  if (spool.end !== after) return spool.end;
  return new Promise((resolve) => {
    const stop = spool.onAppend(() => {
      if (spool.end === after) return;
      stop();
      forget();
      resolve(spool.end);
    });
    const forget = client.onClose(stop);
  });
}

/** @param {string} reason */
async function endWithServices(reason) {
  if (ending) return;
  ending = true;
  await server.close();
  await stack.endAll(reason);
  leave();
}

async function end() {
  if (ending) return;
  ending = true;
  await server.close();
  leave();
}

function leave() {
  spool.close();
  process.exit(0);
}
