/** `src/file.ts:12` of a node. */
export const whereOf = (sf, name, node) => `${name}:${sf.getLineAndCharacterOfPosition(node.getStart(sf)).line + 1}`

/** What a name without a rule makes the command say. */
export const sentenceOf = ({ key, name, node, sf }) =>
  `${whereOf(sf, name, node)}: ${key} has no rule; add it to rules.mjs, or to kept.mjs if it is the same on Effect 4`
