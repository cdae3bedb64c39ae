#!/usr/bin/python3
"""services.py [NAME]: list the services of hero_proc, or start one and wait until it is ready."""

import sys

import dbus

HERO_PROC = "tf.ourworld.HeroProc1"
NO_JOB = "/"

bus = dbus.SystemBus()


def interface(path, name):
    # introspect=False: the types are given below, so there is nothing to ask.
    return dbus.Interface(bus.get_object(HERO_PROC, path, introspect=False), HERO_PROC + "." + name)


manager = interface("/tf/ourworld/HeroProc1", "Manager")


def start(name):
    flags = dbus.UInt64(0)
    try:
        path = manager.StartService("core", name, flags)
        if path == NO_JOB:
            print(f"{name}: there was nothing to do")
            return
        # A service may take its time; dbus-python would give up after 25 seconds.
        job = interface(path, "Job").WaitReady(flags, timeout=600)
        print(f"{name}: job {job['ID']} is {job['Phase']}")
    except dbus.DBusException as e:
        # An error's second string is what mends it. dbus-python keeps the first one alone.
        print(f"{name}: {e.get_dbus_name().rpartition('.')[2]}: {e.get_dbus_message()}")


if len(sys.argv) > 1:
    start(sys.argv[1])
else:
    for service in manager.ListServices():
        print(f"{service['Context']}/{service['Name']} is {service['State']}")
