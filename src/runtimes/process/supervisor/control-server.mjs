/** The control socket: newline-delimited JSON, one request a line, answers by id, statuses pushed to subscribers. See PROTOCOL.md. */
import fs from 'node:fs';
import net from 'node:net';
import { StringDecoder } from 'node:string_decoder';

export const PROTOCOL = 1;
/** A message that is longer ends the connection. */
export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;
/** A client that leaves so much unread is cut off; it reconnects and gets everything anew. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;

/** So long a closing server waits for clients to read their answers. */
const LAST_ANSWER_MS = 1_000;

/** A refusal that the client may see; `code` is part of the protocol. */
export class Refusal extends Error {
  /** @override */
  name = 'Refusal';
  /** @param {'STALE_LEASE' | 'INVALID' | 'FAILED'} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @typedef {(params: any, client: Client) => unknown} Method answers with a value or a promise of one, or throws
 * @typedef {{ send(message: object): void, onClose(listener: () => void): () => void }} Client
 */

export class ControlServer {
  #server;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  #methods;
  #closing = false;

  /** @param {Record<string, Method>} methods */
  constructor(methods) {
    this.#methods = methods;
    this.#server = net.createServer((socket) => this.#accept(socket));
  }

  /** Takes the path over from a predecessor, who is dead: the lock says so. @param {string} socketPath */
  async listen(socketPath) {
    fs.rmSync(socketPath, { force: true });
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject).listen(socketPath, () => resolve(undefined));
    });
    this.#server.on('error', (error) => console.error('control socket:', error.message));
  }

  /** Takes no more requests; what was answered is sent, to those who read it soon. */
  async close() {
    this.#closing = true;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroySoon();
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, LAST_ANSWER_MS);
    await closed;
    clearTimeout(timer);
  }

  /** @param {net.Socket} socket */
  #accept(socket) {
    const decoder = new StringDecoder('utf8');
    let pending = '';
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const client = clientOf(socket);
    socket.on('data', (bytes) => {
      if (this.#closing) return;
      const text = decoder.write(bytes);
      const lines = text.includes('\n') ? (pending + text).split('\n') : [];
      pending = lines.length > 0 ? (lines.pop() ?? '') : pending + text;
      if (pending.length > MAX_MESSAGE_BYTES) socket.destroy();
      for (const line of lines) this.#answer(line, client).catch((error) => console.error('control socket:', error));
    });
  }

  /** @param {string} line @param {Client} client */
  async #answer(line, client) {
    let id = null;
    try {
      const request = parse(line);
      id = request.id;
      const method = Object.hasOwn(this.#methods, request.method) ? this.#methods[request.method] : undefined;
      if (!method) throw new Refusal('INVALID', `unknown method ${String(request.method)}`);
      client.send({ id, result: (await method(request.params ?? {}, client)) ?? null });
    } catch (error) {
      const code = error instanceof Refusal ? error.code : 'FAILED';
      if (code === 'FAILED') console.error(error);
      client.send({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
    }
  }
}

/** @param {string} line */
function parse(line) {
  try {
    const request = JSON.parse(line);
    if (typeof request === 'object' && request !== null && 'id' in request) return request;
  } catch {
    throw new Refusal('INVALID', 'not JSON');
  }
  throw new Refusal('INVALID', 'a request is an object with an id');
}

/** @param {net.Socket} socket @returns {Client} */
function clientOf(socket) {
  /** @type {Set<() => void>} */
  const listeners = new Set();
  socket.once('close', () => {
    for (const listener of listeners) listener();
  });
  return {
    send(message) {
      if (socket.destroyed) return;
      if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      else socket.write(`${JSON.stringify(message)}\n`);
    },
    onClose(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
