// What every contestant of the fan-out tells: batches of log lines as `deploymentLogs` has them.
let sequence = 0;

/** @param {number} count */
export function batch(count) {
  const lines = Array.from({ length: count }, () => {
    sequence += 1;
    return {
      sequence,
      cursor: Buffer.from(`deployment-cursor-${String(sequence).padStart(7, '0')}`).toString('base64url'),
      timestamp: new Date(),
      service: 'web',
      replica: 1,
      stream: 'STDOUT',
      level: 'INFO',
      message: `GET /items/${sequence} 200 in 12 ms, 1482 bytes for 192.0.2.17 with a line of ordinary length`,
      isPartial: false,
    };
  });
  return { lines, endCursor: lines.at(-1).cursor, live: true, missedLines: 0 };
}

export const TYPES = `
  type LogLine { sequence: Int! cursor: String! timestamp: String! service: String replica: Int stream: String! level: String! message: String! isPartial: Boolean! }
  type Batch { lines: [LogLine!]! endCursor: String! live: Boolean! missedLines: Int! }
  type Query { nothing: Boolean }
  type Subscription { deploymentLogs: Batch! }`;

export const DOCUMENT = `subscription { deploymentLogs { lines { sequence cursor timestamp service replica stream level message isPartial } endCursor live missedLines } }`;

/** Tells the parent process where the server is, and hands over what it is asked for. @param {import('node:http').Server} server @param {(lines: number) => void} emit */
export function serve(server, emit) {
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
  process.on('message', ({ lines }) => emit(lines));
  process.on('disconnect', () => process.exit(0));
}
