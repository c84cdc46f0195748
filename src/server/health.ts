import type { ServerResponse } from 'node:http';

/** The state of a part; `detail` in words, free of secrets. One that is `degraded` is slower than it should be, and serves. */
export type PartState = { ok: boolean; degraded?: true; detail?: string };

/** Looks at every part of the server, by name. May take its time: a look that takes too long counts as not ready. */
export type HealthChecks = () => Promise<Record<string, PartState>>;

export const READINESS_TIMEOUT_MS = 3_000;

export function sendLiveness(response: ServerResponse): void {
  send(response, 200, { status: 'ok' });
}

/** 200 when every part is ready, else 503. */
export async function sendReadiness(
  response: ServerResponse,
  checks: HealthChecks,
  isStopping: boolean,
): Promise<void> {
  const parts = await inTime(checks()).catch(() => ({ checks: { ok: false, detail: 'could not look in time' } }));
  const all: Record<string, PartState> = isStopping ? { ...parts, server: { ok: false, detail: 'it stops' } } : parts;
  const ready = Object.values(all).every(({ ok }) => ok);
  send(response, ready ? 200 : 503, { status: ready ? 'ready' : 'not ready', parts: all });
}

export function sendHealth(response: ServerResponse, version: string): void {
  send(response, 200, { status: 'ok', uptime: Math.round(process.uptime() * 1_000) / 1_000, version });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' });
  response.end(JSON.stringify(body));
}

async function inTime<T>(look: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('too slow')), READINESS_TIMEOUT_MS);
  try {
    return await Promise.race([look, promise]);
  } finally {
    clearTimeout(timer);
  }
}
