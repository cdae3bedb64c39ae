// Package store keeps what should run (services and their actions), what ran
// (runs and jobs) and what hero_proc had to say (logs), in one SQLite file.
//
// What lives here is that file and everything about its safety: its modes, its
// lock, the check at each start, backups, the room kept for a full disk, and
// the one place where an error of SQLite or of the disk gets a code. What never
// may: a decision about services, systemd, the bus, or a row that nobody asked
// for.
//
// There is one writing connection and a few reading ones. SQLite in WAL mode
// lets them go on side by side, and a lone writer never meets "database is
// locked" of our own making. All SQL is constant text; every value is bound.
package store
