import type { Role } from '../../db/generated/prisma/enums.ts';
import type { ActorType } from '../../realtime/event-log.ts';
import type { StoredEvent } from '../../realtime/event-store.ts';
import { ALL_EVENT_TYPES, describeEvent, EVENT_TYPES, type EventType } from '../../realtime/event-types.ts';
import { BadRequestError } from '../../shared/errors.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { isAllowed, type Permission, ROLES } from '../organizations/access.ts';

/** How many entries the filter has at most. */
export const MAX_TYPES = 100;

const PERMISSIONS: Record<EventType, { permission: Permission }> = EVENT_TYPES;

/** Whether a member with this role is told of events of this type; of types that this release does not know, nobody is. */
export function mayRead(role: Role, type: string): boolean {
  return Object.hasOwn(PERMISSIONS, type) && isAllowed(role, PERMISSIONS[type as EventType].permission);
}

/** The least role that is told of events of this type. */
export function leastRoleFor(type: EventType): Role {
  return ROLES.find((role) => mayRead(role, type))!;
}

/** The types that a filter names, alone or as all of a subject ("deployment.*"); absent: all. Throws a BadRequestError. */
export function typesNamed(names: readonly string[] | null | undefined): readonly EventType[] {
  if (names == null) return ALL_EVENT_TYPES;
  if (names.length === 0) throw new BadRequestError('"types" is empty: name at least one, or leave it out for all');
  if (names.length > MAX_TYPES) throw new BadRequestError(`"types" has ${MAX_TYPES} entries at most`);
  const matches = names.map((name) => ALL_EVENT_TYPES.filter((type) => isNamed(type, name)));
  const unknown = names.filter((_name, index) => matches[index]!.length === 0);
  if (unknown.length > 0) {
    const subjects = [...new Set(ALL_EVENT_TYPES.map(subjectOf))].map((subject) => `${subject}.*`);
    const quoted = unknown.map((name) => JSON.stringify(name)).join(', ');
    throw new BadRequestError(
      `"types" names no event: ${quoted}; give types of docs/events.md, or ${subjects.join(', ')}`,
    );
  }
  return [...new Set(matches.flat())];
}

/** Whether a name is a type, or all of a subject: what `typesNamed` takes. */
export function namesEvents(name: string): boolean {
  return ALL_EVENT_TYPES.some((type) => isNamed(type, name));
}

function isNamed(type: EventType, name: string): boolean {
  return type === name || `${subjectOf(type)}.*` === name;
}

function subjectOf(type: string): string {
  return type.slice(0, type.indexOf('.'));
}

/** The global ID of what an event is about; null where it is about nothing that has one. */
export function subjectIdOf({ type, subjectId }: Pick<StoredEvent, 'type' | 'subjectId'>): string | null {
  const subject = describeEvent(type)?.subject;
  return subject && subjectId ? encodeGlobalId(subject, subjectId) : null;
}

const ACTOR_TYPES: Partial<Record<ActorType, string>> = { user: 'User', agent: 'Agent', workflow: 'Workflow' };

/** The global ID of who did it; null: the server itself. */
export function actorIdOf({ actorType, actorId }: Pick<StoredEvent, 'actorType' | 'actorId'>): string | null {
  const type = actorType && ACTOR_TYPES[actorType];
  return type && actorId ? encodeGlobalId(type, actorId) : null;
}

/** An event's data as clients read it: what is documented of it, objects by their global IDs. */
export function dataOf({ type, data }: Pick<StoredEvent, 'type' | 'data'>): Record<string, unknown> {
  const told = Object.entries(describeEvent(type)?.data ?? {}).flatMap(([name, { idOf }]) => {
    const value = data[name];
    if (value === undefined) return [];
    return [[name, idOf && typeof value === 'string' ? encodeGlobalId(idOf, value) : value] as const];
  });
  return Object.fromEntries(told);
}
