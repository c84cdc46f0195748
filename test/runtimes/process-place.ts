import { randomUUID } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { createProcessRuntime, type ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import type { InstanceSpec, StackRef } from '../../src/runtimes/runtime.ts';
import { freePort } from '../support/free-port.ts';
import { signalAll } from '../support/signal.ts';
import type { RuntimePlace } from './runtime-contract.ts';
import { eventually, isRunning, shell } from './stack-driver.ts';

export const IS_ROOT = process.geteuid?.() === 0;
/** Users of environments, as root; nobody else's. */
const UIDS = [61_998, 61_999];
const quiet = () => {};

/** A runtime directory of its own under /tmp, whose supervisors end with it. */
export class ProcessPlace implements RuntimePlace {
  readonly logsBy = 'stack';
  readonly keepsChildren = true;
  readonly variables = ['HOME', 'LANG', 'PATH', 'TMPDIR', 'USER', 'WINDFLOW_ROOT'];
  readonly directory: string;
  #made = fs.mkdtempSync('/tmp/wfp-');
  #settings: { spoolBytes?: number; idleEndMs?: number };
  #stacks = 0;

  /** `under`: a folder between the place's own and the runtime directory. */
  constructor({ under = '', ...settings }: { spoolBytes?: number; idleEndMs?: number; under?: string } = {}) {
    this.#settings = settings;
    this.directory = under === '' ? this.#made : path.join(this.#made, under, 'runtime');
    fs.chmodSync(this.#made, 0o711);
    fs.mkdirSync(this.directory, { recursive: true });
  }

  async open(): Promise<ProcessRuntime> {
    const log = { info: quiet, warn: quiet, error: quiet };
    const { directory } = this;
    return createProcessRuntime({ directory, nodePath: process.execPath, log, ...this.#settings });
  }

  newStack(): StackRef {
    this.#stacks += 1;
    const uid = IS_ROOT ? (UIDS[this.#stacks % UIDS.length] ?? null) : null;
    return { id: randomUUID(), environmentId: randomUUID(), stackId: randomUUID(), uid };
  }

  spec(_: StackRef, service: string, script: string, differing: Partial<InstanceSpec> = {}): InstanceSpec {
    return shell(service, script, differing);
  }

  async isRunning(_: InstanceSpec, pid: number): Promise<boolean> {
    return isRunning(pid);
  }

  async occupyPort(protocol: 'tcp' | 'udp'): Promise<{ port: number; release(): Promise<void> }> {
    const port = await freePort(protocol);
    const server =
      protocol === 'tcp'
        ? net.createServer().listen(port, '127.0.0.1')
        : dgram.createSocket('udp4').bind(port, '127.0.0.1');
    await once(server, 'listening');
    const release = async () => {
      server.close();
      await once(server, 'close');
    };
    return { port, release };
  }

  /** Where a stack's supervisor keeps what is its own. */
  homeOf(supervisorPid: number): string {
    const settings = readCommand(supervisorPid)
      .split('\0')
      .find((part) => part.startsWith('{'));
    return path.join(this.directory, 's', JSON.parse(settings ?? '{}').name ?? '');
  }

  /** Pids of the supervisors that run in this directory. */
  supervisors(): number[] {
    return fs.readdirSync('/proc').flatMap((name) => {
      const pid = Number(name);
      if (!Number.isInteger(pid)) return [];
      const command = readCommand(pid);
      return command.includes('supervisor.mjs') && command.includes(`"directory":"${this.directory}"`) ? pid : [];
    });
  }

  /** Lets all supervisors end their services and themselves, then removes the directory. */
  async dispose(): Promise<void> {
    signalAll(this.supervisors(), 'SIGTERM');
    await eventually('the end of all supervisors', () => this.supervisors().length === 0);
    fs.rmSync(this.#made, { recursive: true, force: true });
  }
}

function readCommand(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
