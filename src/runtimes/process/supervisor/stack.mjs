/** All instances of one stack: what the control socket's methods do to them, and their records on disk. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Refusal } from './control-server.mjs';
import { sourceOf } from './frame.mjs';
import { Instance } from './instance.mjs';
import { bootId, groupIsAlive, signalMembers } from './process-identity.mjs';
import { removeFiles } from './service-files.mjs';
import { readRecords, removeRecord, statusWithoutSupervisor, writeRecord } from './state-file.mjs';

/** @import { InstanceSpec, InstanceStatus } from '../../runtime.ts' */
/** @import { Context } from './instance.mjs' */
/** @import { InstanceRecord } from './state-file.mjs' */
/** @import { ProcessIdentity } from './process-identity.mjs' */

const RECORD_RETRY_MS = 1_000;
/** So long what a dead supervisor left behind gets to obey SIGKILL. */
const LEFT_OVER_LIMIT_MS = 5_000;
const LEFT_OVER_POLL_MS = 10;

/** An instance of a former supervisor: it does not run, it is only remembered. @typedef {{ record: InstanceRecord }} Remembered */

export class Stack {
  /** @type {Map<string, Instance>} */
  #instances = new Map();
  /** @type {Map<string, Remembered>} */
  #remembered = new Map();
  /** One thing after the other for each instance. @type {Map<string, Promise<unknown>>} */
  #queues = new Map();
  /** @type {Set<string>} */
  #unwritten = new Set();
  #writingFails = false;
  /** @type {Set<(status: InstanceStatus) => void>} */
  #listeners = new Set();
  #context;
  #stateDirectory;

  /** @param {Omit<Context, 'changed'>} context @param {string} stateDirectory */
  constructor(context, stateDirectory) {
    this.#context = { ...context, changed: (/** @type {Instance} */ instance) => this.#changed(instance) };
    this.#stateDirectory = stateDirectory;
    setInterval(() => this.#writeMissing(), RECORD_RETRY_MS).unref();
  }

  /** Ends what a dead supervisor left running, and says so in the log. */
  async takeOver() {
    const currentBootId = bootId();
    for (const record of readRecords(this.#stateDirectory)) {
      if (record.group) await endLeftOver(record.group);
      const status = statusWithoutSupervisor(record, currentBootId);
      if (status !== record.status) this.#context.spool.event(sourceOf(status), 'ended', status.reason ?? 'ended');
      const settled = { ...record, status, group: null };
      this.#remembered.set(status.instanceId, { record: settled });
      this.#unwritten.add(status.instanceId);
    }
    this.#writeMissing();
  }

  get isLive() {
    return this.#queues.size > 0 || [...this.#instances.values()].some((instance) => instance.isLive);
  }

  get size() {
    return this.#instances.size + this.#remembered.size;
  }

  /** @returns {InstanceStatus[]} */
  list() {
    const remembered = [...this.#remembered.values()].map(({ record }) => record.status);
    return [...remembered, ...[...this.#instances.values()].map(({ status }) => status)];
  }

  /** @param {(status: InstanceStatus) => void} listener @returns {() => void} */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {InstanceSpec} spec @param {number | null} uid @returns {Promise<InstanceStatus>} */
  start(spec, uid) {
    return this.#inOrder(spec.instanceId, async () => {
      const known =
        this.#remembered.get(spec.instanceId)?.record.status ?? this.#instances.get(spec.instanceId)?.status;
      if (known) return known;
      const instance = new Instance(this.#context, spec, uid);
      // The intention is on disk before anything runs: whoever comes after a crash knows of it.
      this.#writeIntention(instance);
      this.#instances.set(spec.instanceId, instance);
      await instance.start();
      return instance.status;
    });
  }

  /** @param {string} instanceId @returns {Promise<void>} */
  stop(instanceId) {
    return this.#inOrder(instanceId, async () => {
      const instance = this.#instances.get(instanceId);
      const remembered = this.#remembered.get(instanceId);
      if (!instance && !remembered) return;
      await instance?.stop();
      this.#instances.delete(instanceId);
      this.#remembered.delete(instanceId);
      removeRecord(this.#stateDirectory, instanceId);
      const record = /** @type {InstanceRecord} */ (instance?.record ?? remembered?.record);
      this.#removeUnusedFiles(record);
      this.#context.spool.event(sourceOf(record.status), 'removed', 'stopped and removed');
      if (remembered) this.#publish({ ...record.status, state: 'STOPPED', reason: 'stopped' });
    });
  }

  /** Ends everything that runs, without forgetting it. @param {string} reason */
  async endAll(reason) {
    const ends = [...this.#instances.values()].map((instance) => {
      const { state, exitCode, reason: own } = instance.status;
      // How it ends now is none of its own doing, and says nothing about whether it is done.
      return instance.stop(
        state === 'EXITED' ? { state, exitCode, reason: own } : { state: 'EXITED', exitCode: null, reason },
      );
    });
    await Promise.allSettled(ends);
    this.#writeMissing();
  }

  /**
   * @template T
   * @param {string} instanceId
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  #inOrder(instanceId, work) {
    const result = (this.#queues.get(instanceId) ?? Promise.resolve()).then(work);
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#queues.set(instanceId, settled);
    settled.then(() => {
      if (this.#queues.get(instanceId) === settled) this.#queues.delete(instanceId);
    });
    return result;
  }

  /** @param {Instance} instance */
  #writeIntention(instance) {
    try {
      writeRecord(this.#stateDirectory, instance.record);
    } catch (error) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
      removeRecord(this.#stateDirectory, instance.spec.instanceId);
      const why = code === 'ENOSPC' ? 'no space left on the disk of the runtime directory' : message;
      throw new Refusal('FAILED', `${instance.spec.service} was not started: ${why}`);
    }
  }

  /** @param {Instance} instance */
  #changed(instance) {
    const { instanceId, state } = instance.status;
    if (state !== 'STOPPED' && this.#instances.get(instanceId) === instance) {
      this.#unwritten.add(instanceId);
      this.#writeMissing();
    }
    this.#publish(instance.status);
  }

  /** @param {InstanceStatus} status */
  #publish(status) {
    for (const listener of this.#listeners) listener(status);
  }

  /** Records that the disk did not take are tried again. */
  #writeMissing() {
    for (const instanceId of this.#unwritten) {
      const record = this.#instances.get(instanceId)?.record ?? this.#remembered.get(instanceId)?.record;
      try {
        if (record) writeRecord(this.#stateDirectory, record);
        this.#unwritten.delete(instanceId);
        this.#writingFails = false;
      } catch (error) {
        if (!this.#writingFails) console.error(`the state of ${instanceId} could not be written:`, error);
        this.#writingFails = true;
        return;
      }
    }
  }

  /** Files of a forgotten instance that no other instance of its service has. @param {InstanceRecord} record */
  #removeUnusedFiles({ files, status, uid }) {
    const others = [...this.#instances.values(), ...[...this.#remembered.values()].map(({ record }) => record)];
    const inUse = new Set(
      others.filter((other) => other.status.service === status.service).flatMap((other) => other.files),
    );
    const unused = files.filter((file) => !inUse.has(file));
    try {
      removeFiles(path.join(this.#context.places.services, status.service), unused, uid);
    } catch (error) {
      console.error(
        `files of ${status.instanceId} could not be removed:`,
        error instanceof Error ? error.message : error,
      );
    }
  }
}

/** @param {ProcessIdentity} leader */
async function endLeftOver(leader) {
  const deadline = Date.now() + LEFT_OVER_LIMIT_MS;
  while (groupIsAlive(leader) && Date.now() < deadline) {
    signalMembers(leader, 'SIGKILL');
    await sleep(LEFT_OVER_POLL_MS);
  }
}
