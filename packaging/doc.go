// Package packaging holds what turns the programs into an installed system:
// the unit, the bus policy, the message catalog, the maintainer scripts, the
// manual pages, the skill.
//
// What lives here is data, and tests that hold it to the code that it speaks
// of. What never may: code that runs on a user's machine, other than the
// maintainer scripts.
package packaging
