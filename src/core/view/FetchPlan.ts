/**
 * What to ask the registry for, so that it has as little to do as may be: on one with 10,000 leases a list of a project costs
 * it 395 ms, a single service 6.5 ms.
 */
import type { ServiceId } from "../../schemas/Ids.js"
import type { ViewSettings } from "../../schemas/ViewTuning.js"
import * as View from "./View.js"

/** The list of the whole project, or single services by their ids. */
export type FetchPlan = "List" | ReadonlyMap<string, ServiceId>

/** Does an answer to this plan tell something of this service? */
export const covers = (plan: FetchPlan, name: string): boolean => plan === "List" || plan.has(name)

/**
 * When a list is due though nobody wants one. `triedAt`: when the last one was asked for. One that has failed is not tried
 * again before its time: it may be too long, or too much for the registry, where single services are not.
 */
export const listDueAt = (
  view: View.View,
  triedAt: number,
  { listIntervalMillis }: Pick<ViewSettings, "listIntervalMillis">
): number =>
  view.listedAt === undefined ? Number.NEGATIVE_INFINITY : Math.max(view.listedAt, triedAt) + listIntervalMillis

/**
 * What the next fetch asks for. `inUse` are the names of the services that somebody asks for; one that has left the view may
 * come back, under another id, and only a list can tell.
 */
export const make = (
  view: View.View,
  inUse: Iterable<string>,
  now: number,
  listTriedAt: number,
  settings: Pick<ViewSettings, "maxSingleFetches" | "listIntervalMillis">
): FetchPlan => {
  if (listDueAt(view, listTriedAt, settings) <= now) return "List"
  const single = new Map<string, ServiceId>()
  for (const name of inUse) {
    const known = View.find(view, name)
    if (known?.isStatic) continue
    if (known === undefined || single.size === settings.maxSingleFetches) return "List"
    single.set(name, known.service.id)
  }
  return single
}
