/* Queues of Python's: deques, and lists and deques that a dictionary makes when they are missing.
 *
 * Belongs here: adding to them and taking from them without looking their methods up. Does not belong here: what is in
 * them.
 */

#include "native.h"

PyTypeObject *deque_type;
static PyTypeObject *defaultdict_type;
static PyCFunction append_to_deque, take_from_deque; /* NULL where this Python calls them otherwise */

/* What a method of the deque calls, if it takes its arguments so; NULL without an error. */
static PyCFunction
method_of_deque(PyObject *name, int flags)
{
    PyObject *found = PyObject_GetAttr((PyObject *)deque_type, name);
    PyCFunction called = NULL;
    if (found != NULL && Py_IS_TYPE(found, &PyMethodDescr_Type)) {
        PyMethodDef *method = ((PyMethodDescrObject *)found)->d_method;
        called = method->ml_flags == flags ? method->ml_meth : NULL;
    }
    PyErr_Clear();
    Py_XDECREF(found); /* the type keeps it */
    return called;
}

/* queue.append(thing); -1 with an error set, also where there is no thing. */
int
append(PyObject *queue, PyObject *thing)
{
    if (thing == NULL)
        return -1;
    if (PyList_CheckExact(queue))
        return PyList_Append(queue, thing);
    int plain = Py_IS_TYPE(queue, deque_type) && append_to_deque != NULL;
    PyObject *done = plain ? append_to_deque(queue, thing) : PyObject_CallMethodOneArg(queue, name_append, thing);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* queue.popleft() */
PyObject *
take_first(PyObject *queue)
{
    if (Py_IS_TYPE(queue, deque_type) && take_from_deque != NULL)
        return take_from_deque(queue, NULL);
    return PyObject_CallMethodNoArgs(queue, name_popleft);
}

/* What a `defaultdict` of lists, or of deques, has under a key: made where it is missing; a new reference. */
PyObject *
made_under(PyObject *dict, PyObject *key, PyTypeObject *type)
{
    PyObject *there = Py_IS_TYPE(dict, defaultdict_type) ? PyDict_GetItemWithError(dict, key) : NULL;
    if (there != NULL)
        return Py_NewRef(there);
    if (PyErr_Occurred())
        return NULL;
    if (!Py_IS_TYPE(dict, defaultdict_type))
        return PyObject_GetItem(dict, key);
    PyObject *made = PyObject_CallNoArgs((PyObject *)type);
    if (made != NULL && PyDict_SetItem(dict, key, made))
        Py_CLEAR(made);
    return made;
}

int
add_queues(void)
{
    deque_type = type_of("collections", "deque");
    defaultdict_type = type_of("collections", "defaultdict");
    if (deque_type == NULL || defaultdict_type == NULL)
        return -1;
    append_to_deque = method_of_deque(name_append, METH_O);
    take_from_deque = method_of_deque(name_popleft, METH_NOARGS);
    return 0;
}
