/** Who a process is (pid, start time, boot id) and what belongs to it: its process group and session. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

const LINUX = process.platform === 'linux';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/**
 * `startTime` is opaque: ticks since boot on Linux, `ps -o lstart=` elsewhere.
 * @typedef {{ pid: number, startTime: string, bootId: string }} ProcessIdentity
 * @typedef {{ pid: number, state: string, group: number, session: number, startTime: string }} ProcessStat
 */

/** Changes with every start of the host; '' where the platform has none. */
export function bootId() {
  return LINUX ? fs.readFileSync(BOOT_ID, 'utf8').trim() : '';
}

/**
 * @param {number} pid
 * @returns {ProcessIdentity | null} null when there is no such process
 */
export function identify(pid) {
  const startTime = LINUX ? readStat(pid)?.startTime : lstart(pid);
  return startTime === undefined ? null : { pid, startTime, bootId: bootId() };
}

/**
 * Whether exactly this process still runs. A zombie does not.
 * @param {ProcessIdentity} identity
 */
export function isAlive(identity) {
  if (identity.bootId !== bootId()) return false;
  if (!LINUX) return lstart(identity.pid) === identity.startTime;
  const stat = readStat(identity.pid);
  return stat !== null && stat.startTime === identity.startTime && !isDead(stat);
}

/**
 * False when the group has no process.
 * @param {number} pid of the group's leader
 * @param {NodeJS.Signals | 0} signal
 */
export function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    // EPERM means that something is there; of a group of zombies, though, macOS says it too.
    return LINUX && /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * Living processes of a leader's group or session that are not older than the leader; the leader itself included.
 * Linux only; elsewhere nobody.
 * @param {ProcessIdentity} leader
 * @returns {ProcessStat[]}
 */
function membersOf(leader) {
  if (!LINUX || leader.bootId !== bootId()) return [];
  const found = [];
  for (const name of fs.readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = readStat(pid);
    if (!stat || isDead(stat)) continue;
    if (stat.pid === leader.pid && stat.startTime !== leader.startTime) return [];
    const related = stat.group === leader.pid || stat.session === leader.pid;
    if (related && BigInt(stat.startTime) >= BigInt(leader.startTime)) found.push(stat);
  }
  return found;
}

/**
 * Whether something of the leader's group or session still runs. Zombies that nobody collects do not count.
 * @param {ProcessIdentity} leader
 */
export function groupIsAlive(leader) {
  if (!LINUX) return signalGroup(leader.pid, 0);
  return isAlive(leader) || membersOf(leader).length > 0;
}

/**
 * Signals whatever is left of a leader's group and session; nothing else is hit when the pid was given away since.
 * @param {ProcessIdentity} leader
 * @param {NodeJS.Signals} signal
 */
export function signalMembers(leader, signal) {
  if (!LINUX) {
    if (isAlive(leader)) signalGroup(leader.pid, signal);
    return;
  }
  const members = membersOf(leader);
  // The group as a whole: one by one, a process that is being born would be missed.
  if (members.some(({ group }) => group === leader.pid)) signalGroup(leader.pid, signal);
  for (const { pid, group } of members) {
    if (group === leader.pid) continue;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
    }
  }
}

/**
 * @param {number} pid
 * @returns {ProcessStat | null}
 */
function readStat(pid) {
  let text;
  try {
    text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null;
  }
  // The name in parentheses may hold anything, spaces and parentheses too: fields start after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    state: fields[0] ?? '',
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTime: fields[19] ?? '0',
  };
}

/** @param {ProcessStat} stat */
function isDead({ state }) {
  return state === 'Z' || state === 'X';
}

/** @param {number} pid */
function lstart(pid) {
  const result = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return result.stdout?.trim() || undefined;
}
