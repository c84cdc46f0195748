import { describe, expect, it } from 'vitest';
import { isAllowed, isAtLeast, type Permission, ROLES } from './access.ts';

const allowed = (permission: Permission, type?: 'DEVELOPMENT' | 'STAGING' | 'PRODUCTION') =>
  ROLES.filter((role) => isAllowed(role, permission, type));

describe('roles', () => {
  it('should be ordered from the least to the most', () => {
    for (const [index, role] of ROLES.entries()) {
      expect(ROLES.filter((other) => isAtLeast(role, other))).toEqual(ROLES.slice(0, index + 1));
    }
  });

  it('should let everyone read, developers edit and deploy, admins manage, owners delete', () => {
    for (const what of ['organization', 'member', 'environment', 'stack', 'deployment'] as const) {
      expect(allowed(`${what}:read`)).toEqual([...ROLES]);
    }
    expect(allowed('stack:edit')).toEqual(['DEVELOPER', 'ADMIN', 'OWNER']);
    expect(allowed('deployment:create', 'STAGING')).toEqual(['DEVELOPER', 'ADMIN', 'OWNER']);
    for (const permission of ['environment:create', 'variable:set', 'member:manage', 'invitation:read'] as const) {
      expect(allowed(permission)).toEqual(['ADMIN', 'OWNER']);
    }
    expect(allowed('organization:delete')).toEqual(['OWNER']);
  });

  it('should let admins alone change what runs in PRODUCTION', () => {
    for (const permission of ['deployment:create', 'deployment:cancel', 'deployment:stop'] as const) {
      expect(allowed(permission, 'PRODUCTION')).toEqual(['ADMIN', 'OWNER']);
      expect(allowed(permission, 'DEVELOPMENT')).toEqual(['DEVELOPER', 'ADMIN', 'OWNER']);
    }
    expect(allowed('deployment:read', 'PRODUCTION')).toEqual([...ROLES]);
  });
});
