import type { Instance } from "../../schemas/Instance.js"

/**
 * A `where` for picks: instances whose `meta` has all of these values, such as `{ zone: "a", canary: false }`. Make it once and
 * keep it: the state of a subset is kept with the function.
 *
 * @since 0.1.0
 * @category predicates
 */
export const withMeta = (
  meta: Readonly<Record<string, string | number | boolean>>
): ((instance: Instance) => boolean) => {
  const wanted = Object.entries(meta)
  return (instance) => wanted.every(([key, value]) => instance.meta[key] === value)
}
