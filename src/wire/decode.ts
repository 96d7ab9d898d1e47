/** From a message of the wire to a domain value. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"
import { AioWireError } from "../schemas/AioError.js"
import type { Lease, NewInstance } from "../schemas/Instance.js"
import * as Limits from "../schemas/Limits.js"
import type { Service, ServiceWithInstances } from "../schemas/Service.js"
import { badField, fieldOf, hard } from "./errors.js"
import type * as Messages from "./Messages.js"
import { millis, Seconds, serviceOf, serviceWithInstancesOf } from "./records.js"
import { MAX_SKIPS, Skips, tooMany } from "./skips.js"

/** A value, and what was left out of it. */
export interface Decoded<A> {
  readonly value: A
  readonly skipped: Skips
}

const none = new Skips()

const whole = <A>(value: A): Decoded<A> => ({ value, skipped: none })

/** Of an answer that says nothing but that the call succeeded. */
export const nothing: Either.Either<Decoded<void>> = Either.right(whole(undefined))

const collecting = <A>(
  protoMessage: string,
  decode: (skips: Skips) => Either.Either<A, AioWireError>
): Either.Either<Decoded<A>, AioWireError> => {
  const skipped = new Skips()
  const decoded = decode(skipped)
  return skipped.total > MAX_SKIPS
    ? Either.left(tooMany(protoMessage, skipped.first))
    : Either.map(decoded, (value) => ({ value, skipped }))
}

export const decodeListServices = (
  raw: Messages.ListServicesResponse
): Either.Either<Decoded<ReadonlyArray<ServiceWithInstances>>, AioWireError> =>
  collecting("ListServicesResponse", (skips) => {
    if (!Array.isArray(raw.services)) {
      return Either.left(badField("ListServicesResponse", "services", raw.services, "expected a list"))
    }
    const services: Array<ServiceWithInstances> = []
    for (const element of raw.services) {
      const decoded = serviceWithInstancesOf(element, skips)
      if (Either.isRight(decoded)) services.push(decoded.right)
      else skips.addError(decoded.left)
    }
    return Either.right(services)
  })

export const decodeGetServiceByID = (
  raw: Messages.GetServiceByIDResponse
): Either.Either<Decoded<ServiceWithInstances>, AioWireError> =>
  collecting("GetServiceByIDResponse", (skips) => serviceWithInstancesOf(raw.service, skips))

export const decodeEnsureService = (
  raw: Messages.EnsureServiceResponse
): Either.Either<Decoded<{ readonly service: Service; readonly created: boolean }>, AioWireError> =>
  collecting("EnsureServiceResponse", (skips) =>
    Either.map(serviceOf(raw.service, skips), (service) => ({ service, created: raw.created }))
  )

const WireLease = Schema.Struct({ instance_key: Schema.NonEmptyString, expires_at: Seconds })
const decodeLease_ = Schemas.decoder(WireLease)

export const decodeRegisterInstance = (
  raw: Messages.RegisterInstanceResponse,
  request: Pick<NewInstance, "serviceId" | "ttl">
): Either.Either<Decoded<Lease>, AioWireError> =>
  Either.map(hard("RegisterInstanceResponse", decodeLease_(raw), raw), (wire) =>
    whole({
      key: { serviceId: request.serviceId, instanceKey: wire.instance_key },
      ttl: Duration.decode(request.ttl ?? Limits.defaultTtl),
      expiresAt: millis(wire.expires_at)
    })
  )

const decodeHeartbeat_ = Schemas.decoder(Schema.Struct({ expires_at: Seconds }))

/**
 * When the renewed lease runs out, in milliseconds since the epoch by the server's clock; 0 where it was not renewed.
 */
export const decodeHeartbeat = (raw: Messages.HeartbeatResponse): Either.Either<number, AioWireError> =>
  Either.map(hard("HeartbeatResponse", decodeHeartbeat_(raw), raw), (wire) => Math.max(0, millis(wire.expires_at)))

// What a header can carry: for anything else grpc-js throws an error that shows the token.
const HeaderValue = Schemas.matching(/^[!-~]+$/)

const decodeToken_ = Schemas.decoder(
  Schema.Struct({ access_token: HeaderValue, expires_at: Seconds, token_type: Schema.String })
)

/** The token, redacted from here on, and what the server says of its expiry (milliseconds since the epoch). */
export const decodeToken = (
  protoMessage: "AuthenticateClientResponse" | "RenewTokenResponse",
  raw: Messages.AuthenticateClientResponse
): Either.Either<{ readonly value: Redacted.Redacted; readonly expiresAt: number }, AioWireError> =>
  Either.mapBoth(decodeToken_(raw), {
    // Never `hard`, nor the problem in Schema's words: both may show the message, and the token in it.
    onLeft: (error) =>
      new AioWireError({
        protoMessage,
        field: fieldOf(error),
        actual: "not shown",
        problem: "expected a token of printable ASCII, its expiry as a decimal string, and its type"
      }),
    onRight: (wire) => ({ value: Redacted.make(wire.access_token), expiresAt: millis(wire.expires_at) })
  })
