use std::any::Any;
use std::fmt;

/// Values that travel with a request, one of each type. A listener or
/// [`verify_request`](crate::Hooks::verify_request) puts them in, and the handler reads them.
///
/// ```
/// use socketserver::request::Extensions;
///
/// #[derive(Debug, PartialEq)]
/// struct User(String);
///
/// let mut extensions = Extensions::default();
/// extensions.insert(User("ada".into()));
/// assert_eq!(extensions.get(), Some(&User("ada".into())));
/// ```
#[derive(Default)]
pub struct Extensions {
    // Few requests carry any, and those carry few. An empty `Vec` does not allocate.
    values: Vec<Box<dyn Any + Send>>,
}

impl Extensions {
    /// Inserts a value, and returns the value of its type that was there before.
    pub fn insert<T: Any + Send>(&mut self, value: T) -> Option<T> {
        let old = self.remove();
        self.values.push(Box::new(value));
        old
    }

    /// The value of this type, if there is one.
    pub fn get<T: Any + Send>(&self) -> Option<&T> {
        self.values.iter().find_map(|value| value.downcast_ref())
    }

    /// The value of this type, mutable.
    pub fn get_mut<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.values
            .iter_mut()
            .find_map(|value| value.downcast_mut())
    }

    /// Removes the value of this type, and returns it.
    pub fn remove<T: Any + Send>(&mut self) -> Option<T> {
        let at = self.values.iter().position(|value| value.is::<T>())?;
        self.values
            .swap_remove(at)
            .downcast()
            .ok()
            .map(|value| *value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions")
            .field("values", &self.values.len())
            .finish()
    }
}
