/* The module: its names and what it is made of.
 *
 * Belongs here: setting up. Does not belong here: anything a run does.
 */

#include "orders.h"

#ifndef FINGERPRINT
#error "compile with `python -m research.engine.native`, which names the sources that went in"
#endif

#define DEFINE(field, text) PyObject *name_##field;
NAMES(DEFINE)
#undef DEFINE

static int
intern_names(void)
{
#define INTERN(field, text)                                                                                            \
    if (name_##field == NULL && (name_##field = PyUnicode_InternFromString(text)) == NULL)                             \
        return -1;
    NAMES(INTERN)
#undef INTERN
    return 0;
}

/* A type by its name; NULL with an error set. */
PyTypeObject *
type_of(const char *module, const char *name)
{
    PyObject *found = NULL, *from = PyImport_ImportModule(module);
    if (from != NULL)
        found = PyObject_GetAttrString(from, name);
    Py_XDECREF(from);
    return (PyTypeObject *)found;
}

static int
set_up(PyObject *module)
{
    if (intern_names() || add_arrays() || add_queues())
        return -1;
    if (add_reads(module) || add_loop(module) || add_orders(module) || add_matching(module) || add_trades(module) ||
        add_asking(module) || add_making(module))
        return -1;
    return PyModule_AddStringConstant(module, "FINGERPRINT", FINGERPRINT);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, set_up}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_loop",
    .m_doc = "The compiled parts of the fast loop.",
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__loop(void)
{
    return PyModuleDef_Init(&definition);
}
