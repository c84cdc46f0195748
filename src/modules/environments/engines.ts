import type { PrismaClient, Transaction } from '../../db/client.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { newId } from '../../shared/ids.ts';
import { connectionContext, ENGINES_TOPIC } from '../engine-connection.ts';
import type { EngineConfig } from './engine-config.ts';

/** In the place of a machine's id: an engine belongs to its environment, whoever reaches it. */
const ENGINE_MACHINE = 'engine';

/** The `hosts` row of a new environment's engine. Returns its id. */
export async function addEngine(tx: Transaction, keyring: Keyring, config: EngineConfig): Promise<string> {
  const id = newId();
  const connection = encrypt(keyring, id, config);
  await tx.host.create({
    data: { id, machineId: ENGINE_MACHINE, runtimeDirectory: id, name: config.endpoint, connection },
  });
  await notifyTopics(tx, [ENGINES_TOPIC]);
  return id;
}

/** Reaches an engine in another way. With nothing that runs there it may be another engine, too. */
export async function moveEngine(tx: Transaction, keyring: Keyring, id: string, config: EngineConfig): Promise<void> {
  const connection = encrypt(keyring, id, config);
  await tx.$executeRaw`
    update hosts h set connection = ${connection}, name = ${config.endpoint},
      engine_id = case when exists (
        select 1 from instances i join stack_environments se on se.id = i.stack_environment_id
        join environments e on e.id = se.environment_id where e.host_id = h.id and i.removed_at is null) then engine_id end
    where h.id = ${id}::uuid`;
  await notifyTopics(tx, [ENGINES_TOPIC]);
}

/** How an engine is reached; null: the host is none. */
export async function readEngine(
  prisma: PrismaClient | Transaction,
  keyring: Keyring,
  hostId: string,
): Promise<EngineConfig | null> {
  const host = await prisma.host.findUnique({ where: { id: hostId }, select: { connection: true } });
  if (!host?.connection) return null;
  return JSON.parse(keyring.decrypt(host.connection, connectionContext(hostId))) as EngineConfig;
}

const encrypt = (keyring: Keyring, hostId: string, config: EngineConfig): string =>
  keyring.encrypt(JSON.stringify(config), connectionContext(hostId));
