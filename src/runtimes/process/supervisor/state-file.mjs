/**
 * `state/<instance id>.json`: what became of each instance, for whoever comes when no supervisor lives. No variables in it, but a status's
 * reason may quote output as it was written, secrets and all: only the owner of the runtime directory reads it.
 */
import fs from 'node:fs';
import path from 'node:path';

/** @import { InstanceStatus } from '../../runtime.ts' */
/** @import { ProcessIdentity } from './process-identity.mjs' */

/**
 * `group`: leader of the last process group, as long as something of it may be left; `files`: what was written into the service's root.
 * @typedef {{ status: InstanceStatus, group: ProcessIdentity | null, files: string[], uid: number | null }} InstanceRecord
 */

/** @param {string} directory @param {string} name */
function fileFor(directory, name) {
  return path.join(directory, `${name}.json`);
}

/**
 * Replaces a file as a whole. On a full disk it is overwritten in place: that needs no new block.
 * @param {string} file
 * @param {string} text
 */
export function replaceFile(file, text) {
  const draft = `${file}.tmp`;
  try {
    fs.writeFileSync(draft, text, { mode: 0o600 });
    fs.renameSync(draft, file);
  } catch (error) {
    if (!fs.existsSync(file)) throw error;
    const fd = fs.openSync(file, 'r+');
    try {
      const written = fs.writeSync(fd, text, 0);
      fs.ftruncateSync(fd, written);
      if (written < Buffer.byteLength(text)) throw error;
    } finally {
      fs.closeSync(fd);
    }
  }
}

/** @param {string} directory @param {InstanceRecord} record */
export function writeRecord(directory, record) {
  replaceFile(fileFor(directory, record.status.instanceId), JSON.stringify(record));
}

/** @param {string} directory @param {string} instanceId */
export function removeRecord(directory, instanceId) {
  fs.rmSync(fileFor(directory, instanceId), { force: true });
  fs.rmSync(`${fileFor(directory, instanceId)}.tmp`, { force: true });
}

/**
 * Every readable record; a file that a power cut emptied is none.
 * @param {string} directory
 * @returns {InstanceRecord[]}
 */
export function readRecords(directory) {
  if (!fs.existsSync(directory)) return [];
  const records = [];
  for (const name of fs.readdirSync(directory)) {
    if (!name.endsWith('.json')) continue;
    const record = readJson(path.join(directory, name));
    if (record) records.push(record);
  }
  return records;
}

/**
 * @param {string} file
 * @returns {any} null where the file is absent or no JSON
 */
export function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * What a dead supervisor's record means for those who look at it now.
 * @param {InstanceRecord} record
 * @param {string} currentBootId
 * @returns {InstanceStatus}
 */
export function statusWithoutSupervisor({ status, group }, currentBootId) {
  if (status.state === 'EXITED' || status.state === 'STOPPED') return status;
  const why = group && group.bootId !== currentBootId ? 'the host restarted' : 'it was killed';
  return { ...status, state: 'EXITED', exitCode: null, pid: null, reason: `its supervisor ended: ${why}` };
}
