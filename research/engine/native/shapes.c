/* Where the values of orders and trades are.
 *
 * Belongs here: finding out at which place among its values a dictionary keeps which name, and whether this Python
 * keeps them as native.h expects. Does not belong here: reading and setting them.
 */

#include "native.h"

Shape shapes[SHAPES];

/* The place of a value that no other entry has; NO_PLACE where it is not found. */
static int
place_of(PyObject *dict, Py_ssize_t count, PyObject *value)
{
    PyObject **values = (PyObject **)((char *)((PyDictObject *)dict)->ma_values + BEFORE_VALUES);
    for (Py_ssize_t place = 0; place < count; place++)
        if (values[place] == value)
            return (int)place;
    return NO_PLACE;
}

/* Note the place of one name, from an entry that is made for it. */
static int
learn_place(Shape *shape, PyObject *dict, PyObject *names, PyObject *name, int number_of_name)
{
    int named = PyDict_Contains(names, name);
    if (named <= 0)
        return named;
    PyDictKeysObject *keys = ((PyDictObject *)dict)->ma_keys;
    PyObject *value = PyFloat_FromDouble(0.0);
    int failed = value == NULL || PyDict_SetItem(dict, name, value);
    if (!failed && ((PyDictObject *)dict)->ma_values != NULL && ((PyDictObject *)dict)->ma_keys == keys)
        shape->places[number_of_name] = (unsigned char)place_of(dict, PyDict_GET_SIZE(dict), value);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

/* Learn the places of names in a dictionary that shares its keys with all its copies, and lives for ever. */
int
learn_shape(int number, PyObject *like, PyObject *names)
{
    Shape *shape = &shapes[number];
    PyObject *copy = PyDict_Copy(like);
    int failed = copy == NULL;
    memset(shape->places, NO_PLACE, sizeof shape->places);
#define LEARN(field, text)                                                                                             \
    failed = failed || learn_place(shape, copy, names, name_##field, number_of_name_##field);
    NAMES(LEARN)
#undef LEARN
    PyDictObject *dict = (PyDictObject *)copy;
    if (!failed && dict->ma_values != NULL && dict->ma_keys == ((PyDictObject *)like)->ma_keys)
        shape->keys = dict->ma_keys;
    Py_XDECREF(copy);
    return failed ? -1 : 0;
}
