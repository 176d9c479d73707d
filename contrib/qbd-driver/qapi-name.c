/*
 * Makes QAPI accept the name of the qbd driver, or of the driver that is built
 *
 * Copyright (c) 2026 the qbdcheck authors
 *
 * This work is licensed under the terms of the GNU GPL, version 2 or later.
 * See the COPYING file in the top-level directory.
 */

/*
 * Only for the driver that is loaded into an unmodified QEMU.  -blockdev and
 * blockdev-add check the name of a driver and its options against a schema
 * that is compiled into QEMU.  There is no "qbd" in it.  But there is "rbd",
 * with the members pool, image, snapshot and conf, and in distributions its
 * driver is a module of a package of its own.  There are two ways to use this:
 *
 * - The schema's entry "rbd" is renamed to "qbd".  This is the default.
 * - With QBD_AS_RBD=1 in the environment, the driver is registered a second
 *   time under the name "rbd", for programs that generate options for rbd,
 *   such as libvirt.  Then blockdev-add does not know "qbd".
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/qapi-types-block-core.h"
#include "block/block_int.h"
#include <sys/mman.h>

#ifndef DRIVER_NAME /* the Makefile's */
#define DRIVER_NAME "qbd"
#endif

static void qbd_rename_schema_entry(void)
{
    uintptr_t page_size = qemu_real_host_page_size();
    int i;

    /* The number of "rbd" depends on how QEMU was configured. */
    for (i = 0; i < BlockdevDriver_lookup.size; i++) {
        const char **entry = (const char **)&BlockdevDriver_lookup.array[i];
        void *page = (void *)(QEMU_ALIGN_DOWN((uintptr_t)entry, page_size));

        if (!strcmp(*entry, "rbd")) {
            /* The table is in memory that was made read-only after loading. */
            if (mprotect(page, page_size, PROT_READ | PROT_WRITE)) {
                perror(DRIVER_NAME ": mprotect");
                exit(1);
            }
            *entry = DRIVER_NAME;
            return;
        }
    }
}

static void qbd_register_as_rbd(void)
{
    static BlockDriver alias;
    BlockDriver *qbd = bdrv_find_format(DRIVER_NAME);

    if (!qbd) {
        fprintf(stderr, "no driver named %s is registered\n", DRIVER_NAME);
        exit(1);
    }
    alias = *qbd;
    memset(&alias.list, 0, sizeof(alias.list));
    alias.format_name = "rbd";
    alias.protocol_name = "rbd";
    bdrv_register(&alias);
}

static void bdrv_qbd_name_init(void)
{
    if (getenv("QBD_AS_RBD")) {
        qbd_register_as_rbd();
    } else {
        qbd_rename_schema_entry();
    }
}

block_init(bdrv_qbd_name_init);
