import type { PrismaClient, Transaction } from '../../db/client.ts';
import type { Environment, Variable } from '../../db/generated/prisma/client.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { NotFoundError, ValidationError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller } from '../services.ts';
import { MIN_SECRET_BYTES, type VariableDeleteInput, type VariableSetInput, variableSetInput } from './inputs.ts';

export const MAX_VARIABLES_PER_ENVIRONMENT = 500;
/** Of all values together: what a process can be started with has a limit too. */
export const MAX_VARIABLE_BYTES_PER_ENVIRONMENT = 1024 * 1024;
/** Of all secrets together: as many as can be masked in a log. */
export const MAX_SECRET_BYTES_PER_ENVIRONMENT = 256 * 1024;

/** An environment's variables as they are now; a secret's version names this very value for as long as the variable exists. */
export type ResolvedVariables = {
  plain: Record<string, string>;
  secrets: Record<string, { versionId: string; value: string }>;
};

export type Variables = {
  setVariable(caller: Caller | null, input: VariableSetInput): Promise<Environment>;
  deleteVariable(caller: Caller | null, input: VariableDeleteInput): Promise<Environment>;
  /** For other modules, which have authorized already. */
  resolveVariables(environmentId: string, db?: Transaction): Promise<ResolvedVariables>;
  /** The values of secret versions, by version id; undefined for those that were deleted. For other modules. */
  secretValues(versionIds: readonly string[], db?: Transaction): Promise<Record<string, string | undefined>>;
};

const contextOf = (versionId: string) => `secret_versions:${versionId}`;

export function createVariables(deps: { prisma: PrismaClient; keyring: Keyring }, access: Access): Variables {
  const { prisma, keyring } = deps;
  return {
    async setVariable(caller, input) {
      const { environmentId, organizationId } = await access.requireEnvironment(
        caller,
        input.environmentId,
        'variable:set',
      );
      const { name, value, isSecret: asked } = parseInput(variableSetInput, input);
      return change(prisma, caller!, async (tx, record) => {
        await lockEnvironment(tx, environmentId);
        const former = await tx.variable.findUnique({ where: { environmentId_name: { environmentId, name } } });
        const isSecret = asked ?? former?.isSecret ?? false;
        if (isSecret && Buffer.byteLength(value) < MIN_SECRET_BYTES) {
          throw ValidationError.field(
            'value',
            `a secret has at least ${MIN_SECRET_BYTES} bytes: shorter ones cannot be masked`,
          );
        }
        await checkLimits(tx, environmentId, { name, value, isSecret });
        const versionId = newId();
        const columns = { isSecret, value: isSecret ? null : value, versionId };
        const variable = former
          ? await tx.variable.update({ where: { id: former.id }, data: columns })
          : await tx.variable.create({ data: { id: newId(), environmentId, name, ...columns } });
        if (isSecret) {
          const ciphertext = keyring.encrypt(value, contextOf(versionId));
          await tx.secretVersion.create({ data: { id: versionId, variableId: variable.id, ciphertext } });
        }
        record.event({ ...about(organizationId, environmentId), type: 'variable.set', data: { name, isSecret } });
        return tx.environment.findUniqueOrThrow({ where: { id: environmentId } });
      });
    },

    async deleteVariable(caller, { environmentId: id, name }) {
      const { environmentId, organizationId } = await access.requireEnvironment(caller, id, 'variable:delete');
      if (!variableSetInput.shape.name.safeParse(name).success) throw new NotFoundError('variable');
      return change(prisma, caller!, async (tx, record) => {
        await lockEnvironment(tx, environmentId);
        const { count } = await tx.variable.deleteMany({ where: { environmentId, name } });
        if (count === 0) throw new NotFoundError('variable');
        record.event({ ...about(organizationId, environmentId), type: 'variable.deleted', data: { name } });
        return tx.environment.findUniqueOrThrow({ where: { id: environmentId } });
      });
    },

    async resolveVariables(environmentId, db = prisma) {
      const rows = await db.$queryRaw<
        (Pick<Variable, 'name' | 'value' | 'versionId'> & { ciphertext: string | null })[]
      >`
        select v.name, v.value, v.version_id as "versionId", s.ciphertext
        from variables v left join secret_versions s on s.id = v.version_id
        where v.environment_id = ${environmentId}::uuid order by v.name`;
      const resolved: ResolvedVariables = { plain: Object.create(null), secrets: Object.create(null) };
      for (const { name, value, versionId, ciphertext } of rows) {
        if (value !== null) resolved.plain[name] = value;
        else if (ciphertext !== null) {
          resolved.secrets[name] = { versionId, value: keyring.decrypt(ciphertext, contextOf(versionId)) };
        }
      }
      return resolved;
    },

    async secretValues(versionIds, db = prisma) {
      const versions = await db.secretVersion.findMany({ where: { id: { in: [...versionIds] } } });
      return Object.fromEntries(versions.map(({ id, ciphertext }) => [id, keyring.decrypt(ciphertext, contextOf(id))]));
    },
  };
}

/** One change of an environment's variables at a time, so that limits hold; deployments go on beside it. */
async function lockEnvironment(tx: Transaction, environmentId: string): Promise<void> {
  const locked = await tx.$queryRaw<unknown[]>`
    select 1 from environments where id = ${environmentId}::uuid for no key update`;
  if (locked.length === 0) throw new NotFoundError('environment');
}

async function checkLimits(
  tx: Transaction,
  environmentId: string,
  { name, value, isSecret }: { name: string; value: string; isSecret: boolean },
): Promise<void> {
  const [others] = await tx.$queryRaw<{ count: number; plainBytes: number; secretBytes: number }[]>`
    select count(*)::int as count,
      coalesce(sum(octet_length(v.value)), 0)::int as "plainBytes",
      coalesce(sum(octet_length(s.ciphertext) * 3 / 4), 0)::int as "secretBytes"
    from variables v left join secret_versions s on s.id = v.version_id
    where v.environment_id = ${environmentId}::uuid and v.name <> ${name}`;
  const { count, plainBytes, secretBytes } = others!;
  if (count >= MAX_VARIABLES_PER_ENVIRONMENT) {
    throw ValidationError.field(
      'name',
      `the environment has ${MAX_VARIABLES_PER_ENVIRONMENT} variables, which is the limit: delete one that is not needed`,
    );
  }
  const bytes = Buffer.byteLength(value);
  if (isSecret) refuseBeyond('secrets', MAX_SECRET_BYTES_PER_ENVIRONMENT, secretBytes + bytes);
  refuseBeyond('values', MAX_VARIABLE_BYTES_PER_ENVIRONMENT, plainBytes + secretBytes + bytes);
}

function refuseBeyond(what: string, limit: number, bytes: number): void {
  if (bytes <= limit) return;
  throw ValidationError.field(
    'value',
    `all ${what} of an environment together may have ${limit.toLocaleString('en')} bytes: shorten or delete some`,
  );
}

function about(organizationId: string, environmentId: string) {
  return { organizationId, subject: { type: 'environment', id: environmentId } };
}
