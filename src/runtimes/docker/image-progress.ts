import type { Readable } from 'node:stream';
import { RuntimeError } from '../runtime.ts';
import { clauseOf, streamProblem } from './connection.ts';

/** Between two lines that tell how far a pull is. */
const TOLD_EVERY_MS = 1_000;
const MAX_LINE_LENGTH = 2_000;
const MB = 1e6;
/** The engine makes error output red. */
const COLOURS = /\x1b\[[0-9;]*m/g;

/** What the engine says while it pulls or builds, one JSON object after the other. */
export type ProgressMessage = {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  stream?: string;
  aux?: { ID?: string };
  error?: string;
};

/** @throws {RuntimeError} with what the engine says went wrong */
export async function* messagesOf(stream: Readable): AsyncGenerator<ProgressMessage, void, undefined> {
  let rest = '';
  stream.setEncoding('utf8');
  try {
    for await (const text of stream) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.trim() === '') continue;
        const message: ProgressMessage = JSON.parse(line);
        if (message.error !== undefined) throw new RuntimeError(clauseOf(message.error));
        yield message;
      }
    }
  } catch (error) {
    throw streamProblem(error, stream);
  }
}

/** Makes few lines of the many messages of a pull: now and then how far all layers together are. */
export class PullProgress {
  readonly #layers = new Map<string, { current: number; total: number; isDone: boolean }>();
  readonly #now: () => number;
  #toldAt: number;
  #told = '';

  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#toldAt = now();
  }

  /** Null: nothing to tell at present. */
  take({ id, status, progressDetail }: ProgressMessage): string | null {
    if (id === undefined || status === undefined || status.startsWith('Pulling from')) return null;
    const layer = this.#layers.get(id) ?? { current: 0, total: 0, isDone: false };
    this.#layers.set(id, layer);
    if (status === 'Downloading') {
      layer.current = progressDetail?.current ?? layer.current;
      layer.total = progressDetail?.total ?? layer.total;
    }
    if (status === 'Download complete') layer.current = layer.total;
    if (status === 'Pull complete' || status === 'Already exists') layer.isDone = true;
    if (this.#now() - this.#toldAt < TOLD_EVERY_MS) return null;
    const line = this.#line();
    if (line === this.#told) return null;
    this.#toldAt = this.#now();
    this.#told = line;
    return line;
  }

  #line(): string {
    const layers = [...this.#layers.values()];
    const done = layers.filter(({ isDone }) => isDone).length;
    const sum = (key: 'current' | 'total') => layers.reduce((total, layer) => total + layer[key], 0) / MB;
    return `${done} of ${layers.length} layers, ${sum('current').toFixed(1)} of ${sum('total').toFixed(1)} MB`;
  }
}

/** Makes whole lines of what a build says in pieces. */
export class BuildLines {
  #rest = '';

  push(text: string): string[] {
    const lines = (this.#rest + text).split(/\r?\n|\r/);
    this.#rest = lines.pop() ?? '';
    return lines
      .map((line) => line.replace(COLOURS, '').slice(0, MAX_LINE_LENGTH))
      .filter((line) => line.trim() !== '');
  }

  finish(): string[] {
    return this.push('\n');
  }
}
