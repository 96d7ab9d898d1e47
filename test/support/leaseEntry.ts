import { Duration } from "effect"
import * as Lease from "../../src/core/lease/Lease.js"
import * as LeaseEntry from "../../src/layers/lease/LeaseEntry.js"
import type { ServiceId } from "../../src/schemas/Ids.js"

/** The entry of an instance of a service in project "shop", with its lease in this state. */
export const anEntry = (
  name: string,
  instanceKey: string,
  id: ServiceId,
  state: Partial<Lease.Lease>
): LeaseEntry.LeaseEntry => {
  const record = {
    service: { project: "shop", name },
    instance: { env: "test", ttl: Duration.minutes(1) },
    hasFixedKey: true,
    drainDelay: 0,
    host: "10.0.0.1",
    ready: undefined,
    healthy: undefined
  }
  return new LeaseEntry.LeaseEntry(record, instanceKey, id, { ...Lease.make({ ttl: 60_000 }), ...state })
}
