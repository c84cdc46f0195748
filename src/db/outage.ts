/** Prisma's codes for a database that cannot be reached, or whose pool is exhausted. */
const PRISMA_OUTAGE_CODES = new Set(['P1000', 'P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2037']);
/** What the driver adapter calls the same. */
const ADAPTER_OUTAGE_KINDS = new Set([
  'DatabaseNotReachable',
  'SocketTimeout',
  'ConnectionClosed',
  'TlsConnectionError',
  'TooManyConnections',
]);
const SOCKET_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** PostgreSQL shuts down, starts up, or takes no more connections; class 08 is about connections. */
const SQL_STATES = /^(08\w{3}|57P0[1235]|53300)$/;
const DRIVER_MESSAGES =
  /connection terminated|timeout exceeded when trying to connect|cannot use a pool after calling end|client has encountered a connection error|query read timeout|server (has )?closed the connection|the database system is|can't reach database server/i;
/** Conflicts between transactions, and what passes by itself: the same work may succeed on another try. */
const RETRY_CODES = new Set(['40001', '40P01', '55006', 'P2034']);
const MAX_CAUSES = 8;

type Fault = {
  code?: unknown;
  syscall?: unknown;
  kind?: unknown;
  message?: unknown;
  cause?: unknown;
  meta?: { driverAdapterError?: unknown };
};

/** Whether an error says that the database is away, not that something is wrong with us. */
export function isUnreachable(error: unknown): boolean {
  return someFault(error, saysOutage);
}

/**
 * Whether an error of a database call means "not now": the database is away, restarts, or chose this transaction as the victim
 * of a conflict. A commit's outcome is unknown then: what is tried again must find out, or be idempotent.
 */
export function isOutage(error: unknown): boolean {
  return someFault(error, (fault) => saysOutage(fault) || RETRY_CODES.has(String(fault.code)));
}

function someFault(error: unknown, says: (fault: Fault) => boolean): boolean {
  let fault = error as Fault | null | undefined;
  for (let depth = 0; depth < MAX_CAUSES && typeof fault === 'object' && fault !== null; depth++) {
    if (says(fault)) return true;
    if (fault instanceof AggregateError) return fault.errors.some((one) => someFault(one, says));
    fault = (fault.cause ?? fault.meta?.driverAdapterError) as Fault | null | undefined;
  }
  return false;
}

function saysOutage({ code, syscall, kind, message }: Fault): boolean {
  if (typeof kind === 'string' && ADAPTER_OUTAGE_KINDS.has(kind)) return true;
  if (typeof code === 'string') {
    if (PRISMA_OUTAGE_CODES.has(code) || SOCKET_CODES.has(code) || SQL_STATES.test(code)) return true;
    // The unix socket of a server that is down; Prisma keeps of it the code and the message alone.
    if (code === 'ENOENT' && (syscall === 'connect' || /connect ENOENT/.test(String(message)))) return true;
  }
  return typeof message === 'string' && DRIVER_MESSAGES.test(message);
}
