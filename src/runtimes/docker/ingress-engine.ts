import type Docker from 'dockerode';
import { RuntimeError, RuntimeUnavailableError } from '../runtime.ts';
import { firstFileOf, packTar } from './tar.ts';

const NOT_FOUND = 404;
const CONFLICT = 409;
const FORBIDDEN = 403;
const NOT_MODIFIED = 304;
const CONFIG_FOLDER = '/usr/local/etc/haproxy';
const CONFIG_NAME = 'haproxy.cfg';
const CONFIG_MODE = 0o644;
export const CONFIG_FILE = `${CONFIG_FOLDER}/${CONFIG_NAME}`;
const LOG_HEADER_BYTES = 8;
/** Of the log's newest end. */
const LOG_LINES = 1_000;

/** What the engine answered instead of doing it. */
class RefusedError extends RuntimeError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type LogLine = { time: string; text: string };

/** What an ingress asks of an engine. Each method throws RuntimeError for what is refused, RuntimeUnavailableError without an answer. */
export class IngressEngine {
  readonly #docker: Docker;

  constructor(docker: Docker) {
    this.#docker = docker;
  }

  containers(...labels: string[]): Promise<Docker.ContainerInfo[]> {
    return ask(this.#docker.listContainers({ all: true, filters: JSON.stringify({ label: labels }) }));
  }

  /** Pulls it where it is not there. */
  async requireImage(image: string): Promise<void> {
    if (await unless(NOT_FOUND, ask(this.#docker.getImage(image).inspect()))) return;
    const pull = async () => {
      const progress = await this.#docker.pull(image);
      await new Promise((resolve, reject) => {
        this.#docker.modem.followProgress(progress, (error, output) => (error ? reject(error) : resolve(output)));
      });
    };
    await pull().catch((error) => {
      throw new RuntimeError(`the ingress’s image ${image} cannot be pulled: ${problemOf(error).message}`);
    });
  }

  /** Does nothing for a network that is there. */
  async createNetwork(options: Docker.NetworkCreateOptions): Promise<void> {
    const there = await ask(this.#docker.listNetworks({ filters: JSON.stringify({ name: [options.Name] }) }));
    if (there.some(({ Name }) => Name === options.Name)) return;
    await unless(CONFLICT, ask(this.#docker.createNetwork(options)));
  }

  /** Leaves one that is in use. */
  async removeNetwork(name: string): Promise<void> {
    const removal = ask(this.#docker.getNetwork(name).remove());
    await unless(FORBIDDEN, unless(CONFLICT, unless(NOT_FOUND, removal)));
  }

  async connect(network: string, container: string): Promise<void> {
    await ask(this.#docker.getNetwork(network).connect({ Container: container }));
  }

  async disconnect(network: string, container: string): Promise<void> {
    await unless(NOT_FOUND, ask(this.#docker.getNetwork(network).disconnect({ Container: container, Force: true })));
  }

  async create(options: Docker.ContainerCreateOptions): Promise<string> {
    return (await ask(this.#docker.createContainer(options))).id;
  }

  async start(id: string): Promise<void> {
    await unless(NOT_MODIFIED, ask(this.#docker.getContainer(id).start()));
  }

  async stop(id: string): Promise<void> {
    await unless(NOT_MODIFIED, ask(this.#docker.getContainer(id).stop({ t: 0 })));
  }

  async rename(id: string, name: string): Promise<void> {
    await ask(this.#docker.getContainer(id).rename({ name }));
  }

  async signal(id: string, signal: NodeJS.Signals): Promise<void> {
    await ask(this.#docker.getContainer(id).kill({ signal }));
  }

  async remove(id: string): Promise<void> {
    await unless(CONFLICT, unless(NOT_FOUND, ask(this.#docker.getContainer(id).remove({ force: true, v: true }))));
  }

  /** What HAProxy reads when it begins; null: nothing was written. */
  async readConfig(id: string): Promise<string | null> {
    const archive = await unless(NOT_FOUND, ask(this.#docker.getContainer(id).getArchive({ path: CONFIG_FILE })));
    if (archive === null) return null;
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    return firstFileOf(Buffer.concat(chunks))?.toString() ?? null;
  }

  async writeConfig(id: string, text: string): Promise<void> {
    const file = { name: CONFIG_NAME, content: text, mode: CONFIG_MODE };
    await ask(this.#docker.getContainer(id).putArchive(packTar([file]), { path: CONFIG_FOLDER }));
  }

  /** '': nothing was said. */
  async lastLogTime(id: string): Promise<string> {
    return (await this.#logLines(id, { tail: 1 })).at(-1)?.time ?? '';
  }

  /** What was said after that time. */
  async logSince(id: string, time: string): Promise<LogLine[]> {
    const since = time === '' ? 0 : Math.floor(Date.parse(time) / 1_000);
    return (await this.#logLines(id, { tail: LOG_LINES, since })).filter((line) => line.time > time);
  }

  async #logLines(id: string, range: { tail: number; since?: number }): Promise<LogLine[]> {
    const wanted = { follow: false as const, stdout: true, stderr: true, timestamps: true, ...range };
    return logLines(await ask(this.#docker.getContainer(id).logs(wanted)));
  }

  /** How many processes the first one of a container has begun and not outlived. */
  async countChildren(id: string): Promise<number> {
    const { Titles, Processes } = await ask(this.#docker.getContainer(id).top());
    const [pid, parent] = [Titles.indexOf('PID'), Titles.indexOf('PPID')];
    const pids = new Set(Processes.map((row: string[]) => row[pid]));
    return Processes.filter((row: string[]) => pids.has(row[parent]!)).length;
  }
}

/** Null where the engine answers with this status. */
async function unless<T>(status: number, answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RefusedError && error.status === status) return null;
    throw error;
  }
}

async function ask<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw problemOf(error as Error);
  }
}

function problemOf(error: Error & { statusCode?: number; json?: { message?: string } }): Error {
  if (error instanceof RuntimeError || error instanceof RuntimeUnavailableError) return error;
  if (error.statusCode === undefined) {
    return new RuntimeUnavailableError(`the Docker engine cannot be reached: ${error.message}`);
  }
  const message = error.json?.message ?? error.message;
  const port = takenPort(message);
  return new RefusedError(
    error.statusCode,
    port === null ? clauseOf(message) : `port ${port} is already in use on the engine’s host`,
  );
}

function takenPort(message: string): string | null {
  if (!/port is already allocated|address already in use/.test(message)) return null;
  return /(?:Bind for|bind host port(?: for)?|listen \S+) (?:\[[^\]]*\]|[\d.]*):(\d+)/.exec(message)?.[1] ?? null;
}

function clauseOf(message: string): string {
  const line = message.trim().split('\n', 1)[0]!;
  return /^[A-Z][a-z]/.test(line) ? line[0]!.toLowerCase() + line.slice(1) : line;
}

/** Both streams come in frames of a header, whose last four bytes are a length, and text. */
function logLines(frames: Buffer): LogLine[] {
  const lines: LogLine[] = [];
  for (let at = 0; at + LOG_HEADER_BYTES <= frames.length; ) {
    const end = at + LOG_HEADER_BYTES + frames.readUInt32BE(at + 4);
    const text = frames.toString('utf8', at + LOG_HEADER_BYTES, end).trimEnd();
    const blank = text.indexOf(' ');
    lines.push({ time: text.slice(0, blank), text: text.slice(blank + 1) });
    at = end;
  }
  return lines;
}
