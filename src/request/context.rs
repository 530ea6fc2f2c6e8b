use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

/// Values that travel with a request, one per type: put in by a listener or by
/// [`verify_request`](crate::Hooks::verify_request), read by the handler.
///
/// ```
/// use socketserver::request::Context;
///
/// #[derive(Debug, PartialEq)]
/// struct User(String);
///
/// let mut context = Context::default();
/// context.insert(User("ada".into()));
/// assert_eq!(context.get(), Some(&User("ada".into())));
/// ```
#[derive(Default)]
pub struct Context {
    values: HashMap<TypeId, Box<dyn Any + Send>>,
}

impl Context {
    /// Puts a value in, and returns the one of its type that was there before.
    pub fn insert<T: Any + Send>(&mut self, value: T) -> Option<T> {
        let old = self.values.insert(TypeId::of::<T>(), Box::new(value))?;
        old.downcast().ok().map(|value| *value)
    }

    /// The value of this type, if there is one.
    pub fn get<T: Any + Send>(&self) -> Option<&T> {
        self.values.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// The value of this type, to be changed.
    pub fn get_mut<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.values.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }

    /// Takes the value of this type out.
    pub fn remove<T: Any + Send>(&mut self) -> Option<T> {
        self.values
            .remove(&TypeId::of::<T>())?
            .downcast()
            .ok()
            .map(|value| *value)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("values", &self.values.len())
            .finish()
    }
}
