/** One process of an instance, from its start to its last byte of output. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { LastLine } from '../../excerpt.mjs';
import { closePipes, drain, openPipes } from './output-pipe.mjs';
import { identify, signalGroup } from './process-identity.mjs';

/** @import { End } from '../../crash-loop.mjs' */
/** @import { ProcessIdentity } from './process-identity.mjs' */
/** @import { Channel, Spool } from './spool.mjs' */
/** @import { Surroundings } from './health-check.mjs' */

/** So long an ended process's output is awaited where another process holds its pipes open. */
const LAST_OUTPUT_MS = 2_000;
/** Its place among the two pipes. */
const STDERR = 1;

/** The program could not be run; `exitCode` as a shell would say it. */
export class LaunchError extends Error {
  /** @override */
  name = 'LaunchError';
  /** @param {number} exitCode @param {string} message */
  constructor(exitCode, message) {
    super(message);
    this.exitCode = exitCode;
  }
}

export class ProcessRun {
  /** @type {ProcessIdentity} */
  identity;
  startedAt;
  /** Resolves after the process ended and its output was read, or awaited long enough. @type {Promise<End>} */
  ended;
  /** Resolves when the process itself ended, with what is known before its output was read. @type {Promise<End>} */
  exited;
  #stopReading;
  #openStreams = 2;

  /** Resolves when the program runs. @param {RunOptions} options @returns {Promise<ProcessRun>} @throws {LaunchError} */
  static async launch(options) {
    const { argv, surroundings, pipeDirectory, name } = options;
    const pipes = openPipes(pipeDirectory, name, 2, surroundings.uid ?? null);
    const [program = '', ...args] = argv;
    /** @type {import('node:child_process').ChildProcess} */
    let child;
    try {
      const stdio = /** @type {const} */ (['ignore', pipes[0]?.writer, pipes[1]?.writer]);
      child = spawn(program, args, { ...surroundings, detached: true, stdio: [...stdio] });
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    } catch (error) {
      closePipes(pipes);
      throw launchError(/** @type {NodeJS.ErrnoException} */ (error), program, surroundings);
    }
    for (const { writer } of pipes) fs.closeSync(writer);
    return new ProcessRun(child, pipes, options);
  }

  /**
   * @typedef {{
   *   argv: string[], surroundings: Surroundings, pipeDirectory: string, name: string,
   *   spool: Spool, channels: [Channel, Channel],
   * }} RunOptions
   * @param {import('node:child_process').ChildProcess} child
   * @param {{ reader: number }[]} pipes
   * @param {RunOptions} options
   */
  constructor(child, pipes, { spool, channels }) {
    const pid = /** @type {number} */ (child.pid);
    // Until its exit was collected here even an ended process has its entry, so this finds it.
    this.identity = identify(pid) ?? { pid, startTime: '0', bootId: '' };
    this.startedAt = Date.now();
    /** @type {() => void} */
    let allRead = () => {};
    const read = new Promise((resolve) => {
      allRead = () => resolve(undefined);
    });
    const lastError = new LastLine();
    this.#stopReading = pipes.map(({ reader }, index) => {
      const channel = /** @type {Channel} */ (channels[index]);
      const onEnd = () => {
        spool.endOfStream(channel);
        this.#openStreams -= 1;
        if (this.#openStreams === 0) allRead();
      };
      const onBytes = (/** @type {Buffer} */ bytes) => {
        if (index === STDERR) lastError.push(bytes);
        spool.output(channel, bytes);
      };
      return drain(reader, onBytes, onEnd);
    });
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(endOf(code, signal))));
    this.ended = this.exited.then(async (end) => {
      /** @type {NodeJS.Timeout | undefined} */
      let timer;
      const enough = new Promise((resolve) => {
        timer = setTimeout(resolve, LAST_OUTPUT_MS);
      });
      await Promise.race([read, enough]);
      clearTimeout(timer);
      const failedByItself = child.exitCode !== null && child.exitCode !== 0;
      return failedByItself ? { ...end, said: lastError.text } : end;
    });
  }

  /** Whether somebody can still write into its log. */
  get hasOpenStreams() {
    return this.#openStreams > 0;
  }

  /** False when nothing of its group is left. @param {NodeJS.Signals | 0} signal @returns {boolean} */
  signal(signal) {
    return signalGroup(this.identity.pid, signal);
  }

  /** Reads no more: of a process that left its group the pipes may stay open for ever. */
  closeStreams() {
    for (const stop of this.#stopReading) stop();
  }
}

/** @param {number | null} code @param {NodeJS.Signals | null} signal @returns {End} */
function endOf(code, signal) {
  const said = '';
  if (signal) return { exitCode: 128 + (os.constants.signals[signal] ?? 0), message: `killed by ${signal}`, said };
  return { exitCode: code ?? 0, message: `exited with code ${code}`, said };
}

/** @param {NodeJS.ErrnoException} error @param {string} program @param {Surroundings} surroundings */
function launchError(error, program, { cwd, env }) {
  const { code, message } = error;
  const found = program.includes('/')
    ? fs.existsSync(path.resolve(cwd, program))
    : (env.PATH ?? '').split(':').some((directory) => fs.existsSync(path.resolve(cwd, directory, program)));
  if (code === 'ENOENT' && found)
    return new LaunchError(126, `cannot run ${program}: the interpreter in its first line is missing`);
  if (code === 'ENOENT') return new LaunchError(127, `command not found: ${program}`);
  if (code === 'EACCES') return new LaunchError(126, `not executable: ${program}`);
  if (code === 'E2BIG') return new LaunchError(126, `cannot run ${program}: arguments and environment are too large`);
  return new LaunchError(126, `cannot run ${program}: ${code ?? message}`);
}
