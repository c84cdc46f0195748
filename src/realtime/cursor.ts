import { BadRequestError } from '../shared/errors.ts';

/** What a cursor is a position in: the first byte, so that those of one kind are none of another. */
const LOG = 1;
const EVENTS = 2;
const OUTPUT = 3;
const UUID_BYTES = 16;
const LENGTH = 1 + UUID_BYTES + 8;

/** The cursor is none of ours, or one of another deployment's log or another organization's events. */
export class InvalidCursorError extends BadRequestError {}

const NOT_OF_THE_LOG =
  "this cursor is not one of this deployment's log: pass an endCursor or LogLine.cursor of the same deployment";
const NOT_OF_THE_EVENTS =
  "this cursor is not one of this organization's events: pass its eventCursor, or an endCursor of events or deploymentsChanged there";
const NOT_OF_THE_OUTPUT =
  "this cursor is not one of this execution's output: pass an endCursor of executionOutput of the same execution";

/** Opaque, base64url: the position after the line of that sequence (0: before the first line), whatever the filter. */
export function encodeLogCursor(deploymentId: string, sequence: number): string {
  return encode(LOG, deploymentId, sequence);
}

/** The sequence that the cursor stands after. Throws InvalidCursorError. */
export function decodeLogCursor(cursor: string, deploymentId: string): number {
  return decode(LOG, cursor, deploymentId, NOT_OF_THE_LOG);
}

/** The same for an organization's events. */
export function encodeEventCursor(organizationId: string, sequence: number): string {
  return encode(EVENTS, organizationId, sequence);
}

export function decodeEventCursor(cursor: string, organizationId: string): number {
  return decode(EVENTS, cursor, organizationId, NOT_OF_THE_EVENTS);
}

/** The same for what an execution writes. */
export function encodeOutputCursor(executionId: string, sequence: number): string {
  return encode(OUTPUT, executionId, sequence);
}

export function decodeOutputCursor(cursor: string, executionId: string): number {
  return decode(OUTPUT, cursor, executionId, NOT_OF_THE_OUTPUT);
}

function encode(kind: number, ownerId: string, sequence: number): string {
  const bytes = Buffer.alloc(LENGTH);
  bytes[0] = kind;
  bytes.write(ownerId.replaceAll('-', ''), 1, 'hex');
  bytes.writeBigUInt64BE(BigInt(sequence), 1 + UUID_BYTES);
  return bytes.toString('base64url');
}

function decode(kind: number, cursor: string, ownerId: string, refusal: string): number {
  const bytes = Buffer.from(cursor, 'base64url');
  if (bytes.length !== LENGTH || bytes[0] !== kind || bytes.toString('base64url') !== cursor)
    throw new InvalidCursorError(refusal);
  const sequence = bytes.readBigUInt64BE(1 + UUID_BYTES);
  const ofOwner = bytes.toString('hex', 1, 1 + UUID_BYTES) === ownerId.replaceAll('-', '');
  if (!ofOwner || sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw new InvalidCursorError(refusal);
  return Number(sequence);
}
