import { randomUUID } from 'node:crypto';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encodeFrame, MAX_FRAME_BYTES, OUTPUT, sourceOf, tableCrc32 } from './frame.mjs';

const record = fc.record({
  service: fc
    .string({ minLength: 1, maxLength: 60, unit: 'grapheme' })
    .filter((name) => Buffer.byteLength(name) <= 255),
  replica: fc.integer({ min: 1, max: 65_535 }),
  stream: fc.constantFrom(1, 2),
  time: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

function encode(value: typeof record extends fc.Arbitrary<infer Value> ? Value : never) {
  const source = sourceOf({ instanceId: randomUUID(), service: value.service, replica: value.replica });
  const target = Buffer.alloc(MAX_FRAME_BYTES);
  const payload = Buffer.from(value.payload);
  const end = encodeFrame(target, 0, { source, type: OUTPUT, stream: value.stream, time: value.time, payload });
  return { source, bytes: target.subarray(0, end) };
}

describe('a record', () => {
  it('should be read as it was written', () => {
    fc.assert(
      fc.property(record, (value) => {
        const { source, bytes } = encode(value);
        const frame = decodeFrame(bytes, 0);
        if (frame === null || frame === 'torn') throw new Error('not read');
        const { service, replica, stream, time } = value;
        expect(frame).toMatchObject({ service, replica, stream, time, type: OUTPUT, instanceId: source.instanceId });
        expect(Buffer.from(value.payload).equals(bytes.subarray(frame.payloadAt, frame.payloadEnd))).toBe(true);
      }),
    );
  });

  it('should not be read before it is complete', () => {
    fc.assert(
      fc.property(record, fc.double({ min: 0, max: 0.999, noNaN: true }), (value, part) => {
        const { bytes } = encode(value);
        expect(decodeFrame(bytes.subarray(0, Math.floor(bytes.length * part)), 0)).toBeNull();
      }),
    );
  });

  it('should not be read when a byte of it changed', () => {
    fc.assert(
      fc.property(record, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, where, change) => {
        const { bytes } = encode(value);
        const at = where % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ change;
        expect([null, 'torn']).toContain(decodeFrame(bytes, 0));
      }),
    );
  });

  it('should have the same checksum on a Node without zlib.crc32', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => tableCrc32(bytes) === zlib.crc32(bytes)));
  });
});
