import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameParser, type LogRecord, TerminalParser } from './log-stream.ts';
import { nanoseconds } from './time.ts';

const SECOND = nanoseconds('2026-11-24T23:38:12Z')!;

const arbitraryRecord = fc
  .record({
    stream: fc.constantFrom('STDOUT' as const, 'STDERR' as const),
    nano: fc.nat(999_999_999),
    bytes: fc.uint8Array({ maxLength: 40 }),
  })
  .map(({ stream, nano, bytes }) => ({ stream, time: SECOND + BigInt(nano), bytes }));

function timeText(time: bigint): string {
  return `2026-11-24T23:38:12.${String(time - SECOND).padStart(9, '0')}Z `;
}

function framed({ stream, time, bytes }: LogRecord): Buffer {
  const payload = Buffer.concat([Buffer.from(timeText(time)), bytes]);
  const header = Buffer.from([stream === 'STDERR' ? 2 : 1, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** The stream cut at these places, taken apart as the pieces come. */
function parse(parser: FrameParser | TerminalParser, stream: Buffer, cuts: number[]) {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length])].sort(
    (a, b) => a - b,
  );
  const pieces = places.slice(1).map((end, index) => stream.subarray(places[index], end));
  return [...pieces.flatMap((piece) => parser.push(piece)), ...parser.finish()].map(plain);
}

const plain = ({ stream, time, bytes }: LogRecord) => ({ stream, time, bytes: [...bytes] });

describe('the engine’s stream of frames', () => {
  it('should give the same records however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(arbitraryRecord, { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (records, cuts) => {
          expect(parse(new FrameParser(), Buffer.concat(records.map(framed)), cuts)).toEqual(records.map(plain));
        },
      ),
    );
  });

  it('should take a time of any length, and one that begins another second', () => {
    const texts = ['2026-11-24T23:38:12Z', '2026-11-24T23:38:12.5Z', '2026-11-24T23:38:13.000000001Z'];
    const frames = texts.map((text) => {
      const payload = Buffer.from(`${text} line\n`);
      const header = Buffer.from([1, 0, 0, 0, 0, 0, 0, payload.length]);
      return Buffer.concat([header, payload]);
    });
    expect(new FrameParser().push(Buffer.concat(frames)).map(({ time }) => time - SECOND)).toEqual([
      0n,
      500_000_000n,
      1_000_000_001n,
    ]);
  });

  it('should end with what the engine says of its own failure', () => {
    const failure = framed({ stream: 'STDOUT', time: SECOND, bytes: new Uint8Array() });
    failure[0] = 3;
    expect(() => new FrameParser().push(failure)).toThrow('the engine cannot read a log');
  });
});

describe('the log of a terminal', () => {
  const longLine = 'x'.repeat(16 * 1024);

  it.each([
    ['lines', ['one\r\n', '\r\n', 'two\r\n']],
    ['a line that does not end', ['one\r\n', 'two']],
    ['a long line in pieces', [longLine, 'rest\r\n', 'next\r\n']],
    ['a long line that is one piece', [`${longLine}\n`, 'next\n']],
  ])('should be records with %s', (_, texts) => {
    const records = texts.map((text, index) => ({
      stream: 'STDOUT' as const,
      time: SECOND + BigInt(index),
      bytes: Buffer.from(text),
    }));
    const stream = Buffer.concat(records.map(({ time, bytes }) => Buffer.concat([Buffer.from(timeText(time)), bytes])));
    for (const cuts of [[], [5, 40, 70], [stream.length - 3], [16_400, 16_420]]) {
      expect(parse(new TerminalParser(), stream, cuts)).toEqual(records.map(plain));
    }
  });
});
