import { Effect, Layer, TestClock } from "effect"
import { AuthMemory, RegistryMemory } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import { suite } from "./registry.js"

suite({
  name: "in memory",
  layer: Layer.merge(RegistryMemory.layer(), AuthMemory.layer()),
  elapse: TestClock.adjust,
  live: false
})

suite({
  name: "over gRPC",
  layer: ControlPlane.layerWithClient(),
  elapse: Effect.sleep,
  live: true
})
