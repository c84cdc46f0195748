import { describe, expect, it } from 'vitest';
import type { StoredEvent } from '../../realtime/event-store.ts';
import { ALL_EVENT_TYPES, EVENT_TYPES } from '../../realtime/event-types.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { newId } from '../../shared/ids.ts';
import { dataOf, leastRoleFor, MAX_TYPES, mayRead, subjectIdOf, typesNamed } from './types.ts';

const stored = (event: Partial<StoredEvent>): StoredEvent => ({
  organizationId: newId(),
  sequence: 1,
  id: newId(),
  type: 'deployment.failed',
  occurredAt: new Date(),
  actorType: null,
  actorId: null,
  subjectType: null,
  subjectId: null,
  data: {},
  ...event,
});

describe('typesNamed', () => {
  it('should take types, and subjects as a whole, each once', () => {
    expect(typesNamed(null)).toEqual(ALL_EVENT_TYPES);
    expect(typesNamed(['stack.created', 'stack.created'])).toEqual(['stack.created']);
    expect(typesNamed(['member.joined', 'invitation.*'])).toEqual([
      'member.joined',
      'invitation.created',
      'invitation.revoked',
    ]);
    expect(typesNamed(['variable.*', 'variable.set'])).toEqual(['variable.set', 'variable.deleted']);
  });

  it.each([
    '',
    '*',
    'stack',
    'stack.',
    'stack.made',
    'stack.c*',
    'Stack.created',
    '*.created',
    '.*',
    'constructor',
    '__proto__',
  ])('should refuse %j and name it', (name) => {
    expect(() => typesNamed(['stack.created', name])).toThrow(`"types" names no event: ${JSON.stringify(name)}; give`);
  });

  it('should refuse an empty and a long list', () => {
    expect(() => typesNamed([])).toThrow('leave it out');
    expect(() => typesNamed(Array(MAX_TYPES + 1).fill('stack.created'))).toThrow(`${MAX_TYPES} entries`);
  });
});

describe('who is told', () => {
  it('should be every member, of notification channels developers, and of invitations admins alone', () => {
    const hidden = ALL_EVENT_TYPES.filter((type) => !mayRead('DEVELOPER', type));
    expect(hidden).toEqual(['invitation.created', 'invitation.revoked']);
    const hiddenFromViewers = ALL_EVENT_TYPES.filter((type) => !mayRead('VIEWER', type));
    expect(hiddenFromViewers).toEqual([...hidden, ...typesNamed(['notificationChannel.*'])]);
    expect(ALL_EVENT_TYPES.filter((type) => !mayRead('ADMIN', type))).toEqual([]);
    expect(hidden.map(leastRoleFor)).toEqual(['ADMIN', 'ADMIN']);
  });

  it('should be nobody of a type that is not known', () => {
    for (const type of ['agent.started', 'toString', '']) expect(mayRead('OWNER', type)).toBe(false);
  });
});

describe('what is told', () => {
  it('should be what is documented, with global IDs', () => {
    const [stackId, environmentId] = [newId(), newId()];
    const data = { status: 'FAILED', number: 3, stackId, environmentId, reason: null, hidden: 'x' };
    expect(dataOf(stored({ data }))).toEqual({
      status: 'FAILED',
      number: 3,
      stackId: encodeGlobalId('Stack', stackId),
      environmentId: encodeGlobalId('Environment', environmentId),
      reason: null,
    });
    expect(dataOf(stored({ type: 'agent.started', data }))).toEqual({});
  });

  it('should be about an object of the type that is documented, or about none', () => {
    const subjectId = newId();
    for (const type of ALL_EVENT_TYPES)
      expect(subjectIdOf(stored({ type, subjectId }))).toBe(encodeGlobalId(EVENT_TYPES[type].subject, subjectId));
    expect(subjectIdOf(stored({}))).toBe(null);
    expect(subjectIdOf(stored({ type: 'agent.started', subjectId }))).toBe(null);
  });
});
