/* How array.array keeps its values.
 *
 * Belongs here: finding out whether this Python lays arrays out as native.h says. Does not belong here: reading them.
 */

#include "native.h"

PyTypeObject *array_type;
const void *doubles_descr;

/* Whether an array of the doubles 1.0 and 2.0, a view of which is held, looks as it should. */
static int
is_as_expected(Array *array, Py_buffer *view)
{
    return array_type->tp_basicsize == sizeof(Array) && array->items == view->buf && Py_SIZE(array) == 2 &&
           array->allocated >= 2 && array->allocated < 64 && array->weak_references == NULL && array->exports == 1 &&
           ((double *)view->buf)[1] == 2.0;
}

int
add_arrays(void)
{
    array_type = type_of("array", "array");
    PyObject *array = array_type == NULL ? NULL : PyObject_CallFunction((PyObject *)array_type, "s(dd)", "d", 1.0, 2.0);
    Py_buffer view;
    if (array == NULL || PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)) {
        Py_XDECREF(array);
        return -1;
    }
    if (is_as_expected((Array *)array, &view))
        doubles_descr = ((Array *)array)->descr;
    PyBuffer_Release(&view);
    if (((Array *)array)->exports)
        doubles_descr = NULL;
    Py_DECREF(array);
    return 0;
}
