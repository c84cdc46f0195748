-- What an agent or a workflow asked for names it, in place of the person whose rights it has.

-- AlterTable
ALTER TABLE "deployments" ADD COLUMN     "agent_id" UUID,
ADD COLUMN     "workflow_id" UUID;
