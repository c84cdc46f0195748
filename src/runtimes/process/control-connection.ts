import net from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { type InstanceStatus, RuntimeError, StaleLeaseError } from '../runtime.ts';

const PROTOCOL = 1;
const CONNECT_LIMIT_MS = 5_000;
/** The supervisor refuses longer messages; files of a spec are the only thing that comes near. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

/** The supervisor went away before it answered; whether it acted is unknown, and asking again is safe. */
export class ConnectionLostError extends RuntimeError {
  override name = 'ConnectionLostError';
}

type Answer = { id: number; result?: unknown; error?: { code: string; message: string } };
type Push = { event: 'status'; status: InstanceStatus };
type Waiting = { resolve: (result: unknown) => void; reject: (error: Error) => void };

/** One connection to a supervisor's control socket: requests by id, statuses pushed. PROTOCOL.md describes the messages. */
export class ControlConnection {
  readonly closed: Promise<void>;
  #socket: net.Socket;
  #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #listeners = new Set<(status: InstanceStatus) => void>();

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { reject } of this.#waiting.values()) reject(new ConnectionLostError('the supervisor went away'));
        this.#waiting.clear();
        resolve();
      });
    });
    this.#listen();
  }

  /** Null where no supervisor listens. Throws `RuntimeError` where one does, but cannot be talked to. */
  static async open(socketPath: string): Promise<ControlConnection | null> {
    const socket = net.connect(socketPath);
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
      socket.setTimeout(CONNECT_LIMIT_MS, () => socket.destroy(new Error(`no answer within ${CONNECT_LIMIT_MS} ms`)));
    });
    try {
      await connected;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ECONNRESET') return null;
      throw new RuntimeError(`the supervisor at ${socketPath} cannot be reached: ${message}`);
    }
    const connection = new ControlConnection(socket);
    try {
      await connection.request('hello', { protocol: PROTOCOL });
      socket.setTimeout(0);
      return connection;
    } catch (error) {
      connection.close();
      if (error instanceof ConnectionLostError) return null;
      throw error;
    }
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** Throws `StaleLeaseError`, `RuntimeError` with the supervisor's reason, or `ConnectionLostError`. */
  request<Result>(method: string, params: object = {}): Promise<Result> {
    const id = this.#nextId++;
    const message = `${JSON.stringify({ id, method, params })}\n`;
    if (Buffer.byteLength(message) > MAX_MESSAGE_BYTES) {
      return Promise.reject(
        new RuntimeError(`${method}: over ${MAX_MESSAGE_BYTES} bytes, its files and variables are too large`),
      );
    }
    return new Promise((resolve, reject) => {
      if (!this.isOpen) return reject(new ConnectionLostError('the supervisor went away'));
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#socket.write(message);
    });
  }

  /** Statuses that the supervisor pushes after `subscribe`. */
  onStatus(listener: (status: InstanceStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#socket.destroy();
  }

  #listen(): void {
    const decoder = new StringDecoder('utf8');
    let pending = '';
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('data', (bytes: Buffer) => {
      const text = decoder.write(bytes);
      if (!text.includes('\n')) {
        pending += text;
        return;
      }
      const lines = (pending + text).split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) this.#receive(line);
    });
  }

  #receive(line: string): void {
    let message: Answer | Push;
    try {
      message = JSON.parse(line);
    } catch (error) {
      this.#socket.destroy(error as Error);
      return;
    }
    if ('event' in message) {
      for (const listener of this.#listeners) listener(message.status);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) waiting?.reject(errorOf(message.error));
    else waiting?.resolve(message.result);
  }
}

function errorOf({ code, message }: { code: string; message: string }): Error {
  return code === 'STALE_LEASE' ? new StaleLeaseError(message) : new RuntimeError(message);
}
