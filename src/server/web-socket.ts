import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { handleProtocols, makeServer } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { MAX_BODY_BYTES } from '../graphql/limits.ts';
import { Heartbeat, KEEP_ALIVE_MS } from './heartbeat.ts';
import { createSocketOptions, type SocketOperationParts, type SocketState } from './socket-operations.ts';
import { SocketOutlet } from './socket-outlet.ts';
import { cutOffUnreachable } from './unreachable-peers.ts';

export const MAX_SOCKETS = 10_000;
const CONNECTION_INIT_TIMEOUT_MS = 10_000;
const GOING_AWAY = 1001;
const INTERNAL_ERROR = 4500;

export type SocketOrigin = { ip: string; userAgent: string | null };

export type WebSocketEndpoint = {
  upgrade(request: IncomingMessage, connection: Duplex, head: Buffer, origin: SocketOrigin): void;
  /** How many are open. */
  readonly size: number;
  /** Bytes that wait in this process for slow readers, all together. */
  readonly backlog: number;
  /** Closes every socket with 1001; those that do not answer in time are cut off. */
  close(graceMs: number): Promise<void>;
};

/** `graphql-transport-ws` on the path of the endpoint. */
export function createWebSocketEndpoint(parts: SocketOperationParts): WebSocketEndpoint {
  const { log } = parts;
  const options = createSocketOptions(parts);
  const protocol = makeServer({ ...options, connectionInitWaitTimeout: CONNECTION_INIT_TIMEOUT_MS });
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_BODY_BYTES,
    perMessageDeflate: false,
    handleProtocols,
  });
  const open = new Map<WebSocket, { outlet: SocketOutlet; heartbeat: Heartbeat }>();

  const beats = setInterval(() => {
    const owed = [...open.values()].filter(({ heartbeat }) => heartbeat.isOwed);
    for (const { heartbeat } of open.values()) heartbeat.beat(performance.now());
    // Where a ping would wait behind what the peer has not taken yet, the kernel tells whether anybody is there.
    void cutOffUnreachable(owed.map(({ outlet }) => outlet.connection));
  }, KEEP_ALIVE_MS);

  function accept(socket: WebSocket, connection: Duplex, origin: SocketOrigin): void {
    const outlet = new SocketOutlet(socket, connection);
    open.set(socket, { outlet, heartbeat: new Heartbeat(socket, outlet) });
    const state: SocketState = {
      ...origin,
      socket,
      outlet,
      bearerToken: null,
      authentication: { caller: null, authenticationError: null },
      sessions: new Map(),
    };
    // What is wrong with a frame (too long, not UTF-8) ends the socket by itself.
    socket.on('error', (error) => log.debug({ err: error, ip: origin.ip }, 'a socket failed'));
    const fail = (error: unknown) => {
      log.warn({ err: error, ip: origin.ip }, 'a socket message could not be handled');
      socket.close(INTERNAL_ERROR, 'INTERNAL');
    };
    const closed = protocol.opened(
      {
        protocol: socket.protocol,
        send: (data) => sendText(socket, data),
        close: (code, reason) => socket.close(code, reason),
        onMessage: (handle) =>
          socket.on('message', (data) => {
            handle(String(data)).catch(fail);
          }),
      },
      state,
    );
    socket.once('close', (code, reason) => {
      open.delete(socket);
      for (const stopWatching of state.sessions.values()) stopWatching();
      closed(code, String(reason)).catch(fail);
    });
  }

  return {
    get size() {
      return server.clients.size;
    },
    get backlog() {
      return open.values().reduce((sum, { outlet }) => sum + outlet.backlog, 0);
    },
    upgrade(request, connection, head, origin) {
      if (server.clients.size >= MAX_SOCKETS) {
        connection.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\r\n');
        return;
      }
      server.handleUpgrade(request, connection, head, (socket) => accept(socket, connection, origin));
    },
    async close(graceMs) {
      clearInterval(beats);
      const closing = [...server.clients].map((socket) => closeInTime(socket, graceMs));
      server.close();
      await Promise.all(closing);
    },
  };
}

/** Resolves when the text is handed to the system: a slow reader holds back what is sent next. */
function sendText(socket: WebSocket, data: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.readyState !== socket.OPEN) return resolve();
    // A socket that went meanwhile needs no message.
    socket.send(data, (error) => (error && socket.readyState === socket.OPEN ? reject(error) : resolve()));
  });
}

function closeInTime(socket: WebSocket, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.terminate(), graceMs);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close(GOING_AWAY, 'the server stops');
  });
}
