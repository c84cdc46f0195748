import { describe, expect, it } from 'vitest';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { newId } from '../../shared/ids.ts';
import { bodyFor, eventMessage, subjectOf, type Told } from './messages.ts';

const NAMELESS = { subject: null, stack: null, environment: null, asked: [] };
const told = (values: Partial<Told> = {}): Told => ({
  id: newId(),
  organizationId: newId(),
  eventType: 'notification.message',
  message: 'hello',
  payload: {},
  createdAt: new Date('2026-01-02T03:04:05.678Z'),
  ...values,
});

describe('what people are told of an event', () => {
  it('should name what it is about, what it means, and why', () => {
    const data = { number: 3, status: 'FAILED', reason: 'web exited with 1' };
    const event = { ...NAMELESS, type: 'deployment.failed', data, stack: 'Web', environment: 'Production' };
    expect(eventMessage(event).split('\n')).toEqual([
      'deployment.failed: deployment 3 of Web in Production',
      'It did not go live; what ran before, if anything did, runs on or again.',
      'web exited with 1',
    ]);
    expect(eventMessage({ ...event, ...NAMELESS })).toMatch(/^deployment\.failed: deployment 3\n/);
  });

  it.each<[string, object, string | null, string]>([
    ['execution.failed', { kind: 'WORKFLOW' }, 'Release', 'execution.failed: Release (workflow)'],
    ['execution.completed', { kind: 'AGENT' }, 'Reviewer', 'execution.completed: Reviewer (agent)'],
    ['execution.completed', { kind: 'AGENT' }, null, 'execution.completed'],
    ['workflow.updated', { fields: ['name'] }, 'Release', 'workflow.updated: Release'],
    ['environment.created', { name: 'Production' }, 'Production now', 'environment.created: Production'],
    ['variable.set', { name: 'LOG_LEVEL' }, 'Production', 'variable.set: LOG_LEVEL in Production'],
  ])('should name its subject: %s', (type, data, subject, first) => {
    expect(eventMessage({ ...NAMELESS, type, data: { ...data }, subject }).split('\n')[0]).toBe(first);
  });

  it('should have what is asked, cut', () => {
    const data = { kind: 'WORKFLOW', reason: 'it waits for an approval: a, b' };
    const asked = [
      { step: 'a', message: 'Go live?' },
      { step: 'b', message: 'x'.repeat(1_000) },
    ];
    const lines = eventMessage({ ...NAMELESS, type: 'execution.waiting', data, subject: 'Release', asked }).split('\n');
    expect(lines.slice(2)).toEqual([data.reason, 'a: Go live?', `b: ${'x'.repeat(499)}…`]);
  });

  it('should do without what is not there', () => {
    const named = { type: 'stack.created', data: { name: 'Web' }, ...NAMELESS };
    expect(eventMessage(named)).toBe('stack.created: Web\nA stack was made.');
    const left = { type: 'member.removed', data: {}, ...NAMELESS };
    expect(eventMessage(left)).toBe('member.removed\nA member was removed, or left.');
    expect(eventMessage({ type: 'new.type', data: { reason: null }, ...NAMELESS })).toBe('new.type');
  });
});

describe('what is posted', () => {
  it('should be all of it for a webhook', () => {
    const payload = {
      eventId: encodeGlobalId('Event', newId()),
      occurredAt: '2026-01-01T00:00:00.000Z',
      subjectId: encodeGlobalId('Stack', newId()),
      data: { name: 'Web' },
    };
    const delivery = told({ eventType: 'stack.created', payload });
    expect(JSON.parse(bodyFor('WEBHOOK', delivery))).toEqual({
      id: encodeGlobalId('NotificationDelivery', delivery.id),
      type: 'stack.created',
      organizationId: encodeGlobalId('Organization', delivery.organizationId),
      message: 'hello',
      ...payload,
    });
    expect(JSON.parse(bodyFor('WEBHOOK', told()))).toMatchObject({
      occurredAt: '2026-01-02T03:04:05.678Z',
      eventId: null,
      subjectId: null,
      data: {},
    });
  });

  it('should call nobody on Slack', () => {
    const body = bodyFor('SLACK', told({ message: '<!channel> a & b <@U1>' }));
    expect(JSON.parse(body)).toEqual({ text: '&lt;!channel&gt; a &amp; b &lt;@U1&gt;' });
  });

  it('should call nobody on Discord, and be no longer than that takes', () => {
    const body = JSON.parse(bodyFor('DISCORD', told({ message: `@everyone ${'😀'.repeat(2_000)}` })));
    expect(body).toEqual({ content: expect.stringMatching(/^@everyone 😀.*😀…$/u), allowed_mentions: { parse: [] } });
    expect(body.content.length).toBeLessThanOrEqual(2_000);
    expect(body.content.isWellFormed()).toBe(true);
  });

  it('should have its first line as a subject, which is one line and short', () => {
    expect(subjectOf({ message: '\n  first\tline\r\nsecond' })).toBe('first line');
    expect(subjectOf({ message: 'x'.repeat(1_000) })).toBe(`${'x'.repeat(199)}…`);
    expect(subjectOf({ message: '' })).toBe('');
  });
});
