// Package migrate brings a database to the schema that this version of
// hero_proc knows.
//
// What lives here is the append-only list of updates and the loop that runs
// them. An update that was released is never edited, moved or taken out: what
// it did wrong, a later one mends. What never may: a query of the running
// daemon, backups, files; those are the store's.
package migrate
