/** One replica of a service: its process, its restarts, its health, its end. */
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CrashLoop, times } from '../../crash-loop.mjs';
import { sourceOf } from './frame.mjs';
import { HealthCheck } from './health-check.mjs';
import { groupIsAlive, signalMembers } from './process-identity.mjs';
import { LaunchError, ProcessRun } from './process-run.mjs';
import { PreparationError, prepareService } from './service-files.mjs';
import { serviceUserName } from './service-user-name.mjs';

/** @import { InstanceSpec, InstanceStatus } from '../../runtime.ts' */
/** @import { Spool } from './spool.mjs' */
/** @import { Places } from './service-files.mjs' */
/** @import { InstanceRecord } from './state-file.mjs' */
/** @import { End } from '../../crash-loop.mjs' */
/** @import { Surroundings, Verdict } from './health-check.mjs' */

/** What SIGKILL does not end in this time sleeps uninterruptibly in the kernel. */
const KILL_LIMIT_MS = 10_000;
const FIRST_POLL_MS = 5;
const MAX_POLL_MS = 100;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * @typedef {{
 *   spool: Spool, places: Places, pipeDirectory: string, binDirectory: string,
 *   changed: (instance: Instance) => void,
 * }} Context
 */

export class Instance {
  /** @type {InstanceStatus} */
  status;
  spec;
  uid;
  /** @type {string[]} */
  files = [];
  #context;
  #source;
  /** @type {[import('./spool.mjs').Channel, import('./spool.mjs').Channel]} */
  #channels;
  /** @type {ProcessRun | null} */
  #run = null;
  /** @type {Promise<void>} */
  #launching = Promise.resolve();
  /** @type {Promise<void>} */
  #runFinished = Promise.resolve();
  /** @type {HealthCheck | null} */
  #health = null;
  /** @type {NodeJS.Timeout | null} */
  #restartTimer = null;
  #loop = new CrashLoop();
  #stopping = false;
  /** @type {Surroundings} */
  #surroundings = { cwd: '/', env: {} };

  /** @param {Context} context @param {InstanceSpec} spec @param {number | null} uid */
  constructor(context, spec, uid) {
    this.#context = context;
    this.spec = spec;
    this.uid = uid;
    this.#source = sourceOf(spec);
    this.#channels = [context.spool.channel(this.#source, 'STDOUT'), context.spool.channel(this.#source, 'STDERR')];
    const { instanceId, service, replica, configHash, ports } = spec;
    const fresh = { restarts: 0, loopRestarts: 0, exitCode: null, startedAt: null, pid: null, reason: null };
    this.status = { instanceId, service, replica, configHash, ports, state: 'STARTING', ...fresh };
  }

  /** Whether something of it runs, will run again, or can still write. */
  get isLive() {
    const ended = this.status.state === 'EXITED' || this.status.state === 'STOPPED';
    return !ended || (this.#run !== null && (this.#run.hasOpenStreams || this.#run.signal(0)));
  }

  /** @returns {InstanceRecord} */
  get record() {
    return { status: this.status, group: this.#run?.identity ?? null, files: this.files, uid: this.uid };
  }

  /** Resolves when the first process runs or could not be started. */
  async start() {
    try {
      this.#prepare();
      await this.#launch();
    } catch (error) {
      const { exitCode, message } = this.#startFailure(error);
      this.#set({ state: 'EXITED', pid: null, exitCode, reason: message });
    }
  }

  /**
   * Ends everything that belongs to it: stop signal, grace period, SIGKILL.
   * @param {Partial<InstanceStatus>} outcome what it is then
   */
  async stop(outcome = { state: 'STOPPED', reason: 'stopped' }) {
    this.#stopping = true;
    if (this.#restartTimer) clearTimeout(this.#restartTimer);
    this.#health?.stop();
    await this.#launching;
    const run = this.#run;
    if (run) {
      signalMembers(run.identity, this.spec.stopSignal);
      if (!(await this.#groupEnds(run, this.spec.stopGracePeriodMs))) {
        signalMembers(run.identity, 'SIGKILL');
        if (!(await this.#groupEnds(run, KILL_LIMIT_MS))) {
          throw new Error(`process ${run.identity.pid} of ${this.spec.service} does not end: the kernel holds it`);
        }
      }
      await this.#runFinished;
      run.closeStreams();
    }
    this.#set({ ...outcome, pid: null });
  }

  #prepare() {
    const { root, temporary, workingDir, files } = prepareService(this.#context.places, this.spec, this.uid);
    this.files = files;
    const identity = this.uid === null ? {} : { uid: this.uid, gid: this.uid };
    this.#surroundings = {
      ...identity,
      cwd: workingDir,
      env: {
        PATH: `${SYSTEM_PATH}:${this.#context.binDirectory}`,
        HOME: root,
        LANG: 'C.UTF-8',
        TMPDIR: temporary,
        USER: this.uid === null ? ownName() : serviceUserName(this.uid),
        ...this.spec.environment,
        WINDFLOW_ROOT: root,
      },
    };
  }

  async #launch() {
    const run = await ProcessRun.launch({
      argv: this.spec.argv,
      surroundings: this.#surroundings,
      pipeDirectory: this.#context.pipeDirectory,
      name: path.basename(this.spec.instanceId),
      spool: this.#context.spool,
      channels: this.#channels,
    });
    this.#run = run;
    const { pid } = run.identity;
    this.#context.spool.event(this.#source, 'started', `started, pid ${pid}`);
    this.#runFinished = this.#follow(run);
    const { healthcheck } = this.spec;
    if (healthcheck && !this.#stopping) {
      this.#health = new HealthCheck(healthcheck, this.#surroundings, (verdict) => this.#judge(run, verdict));
    }
    const startedAt = new Date(run.startedAt).toISOString();
    this.#set({ state: healthcheck ? 'STARTING' : 'RUNNING', pid, startedAt, reason: this.#history() });
  }

  /** @param {ProcessRun} run */
  async #follow(run) {
    const { exitCode } = await run.exited;
    this.#health?.stop();
    const again = this.#restarts(exitCode);
    // What a former process left behind would hold its ports and its output.
    if (again) signalMembers(run.identity, 'SIGKILL');
    const exitedAt = Date.now();
    const end = await run.ended;
    this.#context.spool.event(this.#source, 'ended', end.message);
    if (this.#stopping) this.status = { ...this.status, pid: null, exitCode };
    else this.#conclude(end, exitedAt - run.startedAt);
  }

  /** @param {End} end @param {number} ranMs */
  #conclude(end, ranMs) {
    const { restarts } = this.status;
    this.#loop.add(end, ranMs);
    const ended = { pid: null, exitCode: end.exitCode, loopRestarts: this.#loop.restarts };
    if (this.#restarts(end.exitCode)) {
      const delayMs = this.#loop.nextDelayMs();
      this.#context.spool.event(this.#source, 'restarting', `restarting in ${delayMs} ms`);
      this.#restartTimer = setTimeout(() => this.#restart(), delayMs);
      this.#set({ ...ended, state: 'RESTARTING', reason: this.#loop.describe() });
    } else {
      this.#set({ ...ended, state: 'EXITED', reason: restarts === 0 ? end.message : this.#loop.describe() });
    }
  }

  /** @param {number} exitCode */
  #restarts(exitCode) {
    const { name, maxRetries } = this.spec.restart;
    if (this.#stopping || name === 'no') return false;
    if (name !== 'on-failure') return true;
    return exitCode !== 0 && (maxRetries === null || this.status.restarts < maxRetries);
  }

  #restart() {
    this.#loop.countRestart();
    this.status = { ...this.status, restarts: this.status.restarts + 1, loopRestarts: this.#loop.restarts };
    this.#launching = this.#launch().catch((error) => this.#conclude(this.#startFailure(error), 0));
  }

  /** @param {unknown} error @returns {End} */
  #startFailure(error) {
    const message = error instanceof Error ? error.message : String(error);
    const expected = error instanceof LaunchError || error instanceof PreparationError;
    const end = {
      exitCode: error instanceof LaunchError ? error.exitCode : 126,
      message: expected ? message : `could not start: ${message}`,
      said: '',
    };
    this.#context.spool.event(this.#source, 'ended', end.message);
    return end;
  }

  /** @param {ProcessRun} run @param {Verdict} verdict */
  #judge(run, verdict) {
    if (run !== this.#run || this.#stopping) return;
    const state = verdict.healthy ? 'HEALTHY' : 'UNHEALTHY';
    const reason = verdict.healthy ? this.#history() : `health check: ${verdict.reason}`;
    if (this.status.state === state) return;
    this.#context.spool.event(this.#source, 'health', verdict.healthy ? 'healthy' : `unhealthy: ${verdict.reason}`);
    this.#set({ state, reason });
  }

  /** What a running process's status tells of those before it. */
  #history() {
    const { restarts, exitCode } = this.status;
    return restarts === 0 ? null : `restarted ${times(restarts)}, last exit code ${exitCode}`;
  }

  /** @param {ProcessRun} run @param {number} limitMs @returns {Promise<boolean>} */
  async #groupEnds(run, limitMs) {
    const deadline = Date.now() + limitMs;
    let pollMs = FIRST_POLL_MS;
    while (groupIsAlive(run.identity)) {
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) return false;
      await sleep(Math.min(pollMs, leftMs));
      pollMs = Math.min(pollMs * 2, MAX_POLL_MS);
    }
    return true;
  }

  /** @param {Partial<InstanceStatus>} change */
  #set(change) {
    this.status = { ...this.status, ...change };
    this.#context.changed(this);
  }
}

function ownName() {
  try {
    return os.userInfo().username;
  } catch {
    return String(process.geteuid?.());
  }
}
