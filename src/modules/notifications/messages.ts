import type { NotificationChannelKind } from '../../db/generated/prisma/enums.ts';
import { describeEvent } from '../../realtime/event-types.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';

/** What Discord takes: https://docs.discord.com/developers/resources/webhook#execute-webhook. */
const MAX_DISCORD_CHARACTERS = 2_000;
/** What Slack does not cut: https://docs.slack.dev/changelog/2018-truncating-really-long-messages. */
const MAX_SLACK_CHARACTERS = 40_000;
const MAX_SUBJECT_CHARACTERS = 200;
/** Of what a step asks people. */
const MAX_ASKED_CHARACTERS = 500;

/** An event with the names of what it speaks of; null: it speaks of none, or it is gone. */
export type NamedEvent = {
  type: string;
  data: Record<string, unknown>;
  /** Of what it is about; of an execution that of its workflow or agent. */
  subject: string | null;
  stack: string | null;
  environment: string | null;
  /** Of an execution that waits for people: the steps that do, and what they ask. */
  asked: { step: string; message: string }[];
};

/** What a delivery tells. */
export type Told = {
  id: string;
  organizationId: string;
  eventType: string;
  message: string;
  payload: Partial<Payload>;
  createdAt: Date;
};
/** What programs are told of an event; IDs are global. */
export type Payload = {
  eventId: string;
  occurredAt: string;
  subjectId: string | null;
  data: Record<string, unknown>;
};

/** What people are told of an event: a line that says it all, then what it means, why, and what is asked. */
export function eventMessage(event: NamedEvent): string {
  const { type, data, asked } = event;
  const about = aboutOf(event);
  const questions = asked.map(({ step, message }) => `${step}: ${cut(message, MAX_ASKED_CHARACTERS)}`);
  const lines = [
    about === '' ? type : `${type}: ${about}`,
    describeEvent(type)?.description,
    data.reason,
    ...questions,
  ];
  return lines.filter((line) => typeof line === 'string' && line !== '').join('\n');
}

function aboutOf({ type, data, subject, stack, environment }: NamedEvent): string {
  if (type.startsWith('execution.')) return subject === null ? '' : `${subject} (${String(data.kind).toLowerCase()})`;
  const number = typeof data.number === 'number' ? `deployment ${data.number}` : null;
  const named = typeof data.name === 'string' ? data.name : null;
  // A variable is named by the data, and its environment is the subject.
  const isVariable = type.startsWith('variable.');
  const name = stack ?? named ?? (isVariable ? null : subject);
  const place = environment ?? (isVariable ? subject : null);
  return [number, number && name ? 'of' : null, name, place && `in ${place}`].filter((part) => part !== null).join(' ');
}

/** The global ID of a delivery: receivers know by it what they have been told already. */
export function messageId({ id }: Pick<Told, 'id'>): string {
  return encodeGlobalId('NotificationDelivery', id);
}

/** What is posted to a channel that is an address, as text. */
export function bodyFor(kind: Exclude<NotificationChannelKind, 'EMAIL'>, told: Told): string {
  const { eventType: type, message, payload } = told;
  if (kind === 'SLACK') return JSON.stringify({ text: cut(escapeSlack(message), MAX_SLACK_CHARACTERS) });
  // Whatever names of people or roles the text holds, nobody is called by them.
  if (kind === 'DISCORD')
    return JSON.stringify({ content: cut(message, MAX_DISCORD_CHARACTERS), allowed_mentions: { parse: [] } });
  const organizationId = encodeGlobalId('Organization', told.organizationId);
  const { eventId = null, occurredAt = told.createdAt, subjectId = null, data = {} } = payload;
  return JSON.stringify({ id: messageId(told), type, occurredAt, organizationId, eventId, subjectId, data, message });
}

/** The first line, as it can stand in a header. */
export function subjectOf({ message }: Pick<Told, 'message'>): string {
  const [first = ''] = message.trim().split('\n', 1);
  return cut(first.replace(/\p{Cc}+/gu, ' ').trim(), MAX_SUBJECT_CHARACTERS);
}

/** What Slack would read as a mention or a link is text: https://docs.slack.dev/messaging/formatting-message-text. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** At most so many UTF-16 units, which are at least as many as characters, and no half of one. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  return `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
