/*
 * Loads the qbd driver into QEMU's programs (LD_PRELOAD)
 *
 * Copyright (c) 2026 the qbdcheck authors
 *
 * This work is licensed under the terms of the GNU GPL, version 2 or later.
 * See the COPYING file in the top-level directory.
 */

/*
 * The driver itself must not be preloaded: a QEMU program starts others (a
 * shell, a helper), which inherit LD_PRELOAD and have none of the functions
 * that the driver needs.  This stub looks first.  The path of the driver is in
 * the environment variable QBD_DRIVER.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void __attribute__((constructor)) load_driver(void)
{
    const char *driver = getenv("QBD_DRIVER");

    if (!driver || !dlsym(RTLD_DEFAULT, "bdrv_register")) {
        return;
    }
    if (!dlopen(driver, RTLD_NOW | RTLD_GLOBAL)) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
}
